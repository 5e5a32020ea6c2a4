"""docs/training.md says what there is."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from chestx.learning.backbones import BACKBONES
from chestx.learning.config import TrainConfig, config_to_table

pytestmark = pytest.mark.torch

ROW = re.compile(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\| (.+) \|$", re.MULTILINE)


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "training.md").read_text(encoding="utf-8")


def test_every_key_is_documented_with_its_default(page: str) -> None:
    configuration = page.split("## Configuration")[1].split("## chestx publish")[0]
    rows = {name: default for name, default, _ in ROW.findall(configuration)}
    defaults: dict[str, Any] = config_to_table(TrainConfig(manifest=""))
    assert rows.keys() == {field.name for field in dataclasses.fields(TrainConfig)}
    for name, default in rows.items():
        if name != "manifest":
            assert default == json.dumps(defaults[name]), name


def test_every_file_of_a_run_and_every_recipe_is_documented(page: str, repository: Path) -> None:
    from chestx.learning.checkpoints import CHECKPOINT
    from chestx.learning.run import EVENTS, HISTORY, PAGE, RUN
    from chestx.learning.training import BEST

    for name in (BEST, HISTORY, PAGE, RUN, f"{EVENTS}/", CHECKPOINT, "cache/"):
        assert f"| `{name}` |" in page, name
    for recipe in (repository / "configs").glob("*.toml"):
        assert f"| `{recipe.name}` |" in page, recipe.name


def test_backbones_and_what_may_change_are_named(page: str) -> None:
    from chestx.learning.provenance import MAY_CHANGE

    for name in ("densenet121", "resnet18", "resnet34", "efficientnet_lite0"):
        assert name in BACKBONES
        assert f"`{name}`" in page
    for name in MAY_CHANGE:
        assert f"`{name}`" in page.split("### Resuming")[1].split("###")[0]
