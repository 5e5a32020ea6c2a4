"""A configuration is a flat table; what is wrong in it is said with its key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chestx.domain import Denoise, UsageError
from chestx.learning.config import TrainConfig, config_from_table, config_to_table, load_config


def test_a_file_is_a_difference_from_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('manifest = "m.csv"\nsize = 64\ndenoise = "median"\n[columns]\npath = "file"\n')
    config = load_config(path)
    assert (config.size, config.denoise, config.columns) == (64, Denoise.MEDIAN, {"path": "file"})
    assert config.learning_rate == TrainConfig(manifest="m.csv").learning_rate
    assert config.input.size == 64


def test_the_round_trip_keeps_every_value(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config(
        labels=("A", "B"), columns={"path": "file"}, no_finding="A", denoise=Denoise.MEDIAN
    )
    table = json.loads(json.dumps(config_to_table(config)))
    assert config_from_table(table, where="there") == config


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "expected the key 'manifest'"),
        ({"learning_rte": 1}, "got 'learning_rte'; see docs/training.md"),
        ({"size": "224"}, "size: expected a whole number, got '224'"),
        ({"size": 8}, "input size: expected 16 to 4096, got 8"),
        ({"size": True}, "size: expected a whole number, got True"),
        ({"dropout": "much"}, "dropout: expected a number"),
        ({"dropout": 1.0}, "dropout: expected 0 to 0.95, got 1"),
        ({"learning_rate": float("nan")}, "learning_rate: expected 1e-08 to 10, got nan"),
        ({"augment_flip": 1}, "augment_flip: expected true or false"),
        ({"labels": "A"}, "labels: expected a list of texts"),
        ({"columns": {"path": 1}}, "columns: expected a table of texts"),
        ({"optimizer": "lamb"}, "optimizer: expected one of adam, adamw, sgd, got 'lamb'"),
        ({"optimizer": ["adam"]}, "optimizer: expected one of"),
        ({"denoise": "hard"}, "denoise: expected one of none"),
        ({"backbone": 18}, "backbone: expected a text"),
        ({"output_stride": 8}, "output_stride: expected 16 or 32, got 8"),
        ({"labels": ["A", "B"], "no_finding": "C"}, "no_finding: expected one of the labels A, B"),
        ({"alignment": "coral"}, "alignment and alignment_weight go together"),
        ({"unlabelled": ["place"]}, 'unlabelled images go with alignment = "coral"'),
        ({"augment_mixup": 0.2, "group_robust": 0.1}, "exclude each other"),
    ],
)
def test_a_wrong_value_is_refused(table: dict[str, Any], words: str) -> None:
    whole = table if not table else {"manifest": "m.csv", **table}
    with pytest.raises(UsageError) as caught:
        config_from_table(whole, where="c.toml")
    assert str(caught.value).startswith("c.toml: ")
    assert words in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("size = = 3")
    with pytest.raises(UsageError, match="expected TOML"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="expected TOML"):
        load_config(tmp_path / "binary.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(UsageError, match="at most 1 MiB"):
        load_config(tmp_path / "large.toml")


def test_every_recipe_that_is_shipped_is_valid(repository: Path) -> None:
    recipes = sorted((repository / "configs").glob("*.toml"))
    assert len(recipes) >= 4
    for path in recipes:
        assert load_config(path).manifest, path.name
        first = path.read_text(encoding="utf-8").split("\n\n")[0]
        assert f"chestx train configs/{path.name}" in first, path.name
        assert "expect" in first.lower(), path.name
