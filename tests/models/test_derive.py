from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from chestx import Classifier
from chestx.domain import InvalidModelError, UsageError
from chestx.models.derive import derive_model_folder
from chestx.models.folder import load_model_folder


def test_a_derived_folder_has_the_same_network_under_another_card(
    classifier: Classifier, tmp_path: Path
) -> None:
    folder = classifier.folder
    card = replace(folder.card, version="0.1+site", summary="Another sentence.")
    derived = derive_model_folder(folder, tmp_path / "new", card=card)
    assert derived.graph == folder.graph
    assert derived.card == replace(card, files=derived.card.files)
    changed = {name for name, sha in derived.card.files.items() if folder.card.files[name] != sha}
    assert changed == {"README.md"}
    assert "Another sentence." in (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert derived.identity.checksum != folder.identity.checksum
    Classifier.load(tmp_path / "new", threads=1).check()


def test_what_is_there_is_not_overwritten(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a name that is free"):
        derive_model_folder(classifier.folder, tmp_path, card=classifier.card)


def test_a_file_that_changed_since_it_was_verified_is_refused(
    classifier: Classifier, tmp_path: Path
) -> None:
    shutil.copytree(classifier.folder.path, tmp_path / "old")
    folder = load_model_folder(tmp_path / "old")
    (tmp_path / "old" / "LICENSE").write_text("anything goes", encoding="utf-8")
    with pytest.raises(InvalidModelError, match="LICENSE: it was changed while it was copied"):
        derive_model_folder(folder, tmp_path / "new", card=folder.card)
    assert [item.name for item in tmp_path.iterdir()] == ["old"]
