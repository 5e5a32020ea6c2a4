"""A model folder made of another: under another card, and with other files where they are given."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from chestx.domain import ChestxError, InvalidModelError, ModelCard, Precision, UsageError
from chestx.models.card import card_to_json, render_card
from chestx.models.folder import CARD, INT8_MODEL, MODEL, ModelFolder, load_model_folder

README = "README.md"


def derive_model_folder(
    folder: ModelFolder,
    out: Path,
    *,
    card: ModelCard,
    contents: Mapping[str, bytes] | None = None,
) -> ModelFolder:
    """Copies a verified folder and gives it another card.

    The README is rendered anew from the card and the checksums are taken anew; the network,
    its weights, the reference and the licence stay as they are where nothing else is given.
    The folder appears whole or not at all. Variants in other precisions stay only with the
    network and the settings that they were compared with.

    Args:
        folder: where the files come from.
        out: the new folder; nothing of that name may be there.
        card: what the new folder says of itself; its ``files`` are not looked at.
        contents: name of a file -> its bytes, in place of the old folder's or beside them.

    Returns:
        The new folder, verified.

    Raises:
        UsageError: something of that name is there, or cannot be written.
        InvalidModelError: a file of the old folder was changed since it was verified.
    """
    if os.path.lexists(out):
        raise UsageError(f"{str(out)!r}: expected a name that is free, something is there already")
    if MODEL in (contents or {}) or _decides_otherwise(folder.card, card):
        card = replace(card, precisions=())
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            draft = Path(name) / "folder"
            draft.mkdir()
            _fill(folder, draft, card, contents or {})
            draft.rename(out)
    except OSError as error:
        raise ChestxError(f"{str(out)!r} cannot be written: {error.strerror or error}") from error
    return load_model_folder(out)


def _decides_otherwise(old: ModelCard, new: ModelCard) -> bool:
    first, second = (
        (
            [(label.key, label.operating_point, label.map_scale) for label in card.labels],
            (card.temperature, card.activation, card.any_finding, card.input, card.scope),
        )
        for card in (old, new)
    )
    return first != second


def _fill(folder: ModelFolder, draft: Path, card: ModelCard, contents: Mapping[str, bytes]) -> None:
    new = {**contents, README: render_card(card).encode()}
    files = {}
    int8 = card.find_precision(Precision.INT8)
    left_out = set() if int8 is not None and int8.kept else {INT8_MODEL}
    for name in sorted({*folder.card.files, *new} - left_out):
        # Files of an ensemble's members lie deeper.
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        if name in new:
            (draft / name).write_bytes(new[name])
        else:
            shutil.copyfile(folder.path / name, draft / name)
        files[name] = _hash_file(draft / name)
        if name not in new and files[name] != folder.card.files[name]:
            raise InvalidModelError(
                f"{folder.path / name}: it was changed while it was copied; verify the folder"
            )
    text = card_to_json(replace(card, files=files))
    (draft / CARD).write_text(text, encoding="utf-8")


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
