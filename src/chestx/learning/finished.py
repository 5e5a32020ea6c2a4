"""What is left of a run when it is over: its record and its best weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chestx.domain import UsageError
from chestx.learning.backbones import Network, build_network
from chestx.learning.config import TrainConfig, config_from_table
from chestx.learning.training import BEST, load_best

RUN = "run.json"

_NEEDED = ("config", "labels", "task", "manifest", "manifest_sha256", "split_sha256", "cache")
_CARRIED = (
    "config",
    "manifest_sha256",
    "split_sha256",
    "weights",
    "versions",
    "seconds",
    "best_epoch",
    "epochs",
)


def read_run(run: Path) -> dict[str, Any]:
    """What a run wrote down of itself.

    Raises:
        UsageError: the folder holds no run with weights.
    """
    try:
        record = json.loads((run / RUN).read_text(encoding="utf-8"))
        if not (run / BEST).is_file():
            raise UsageError(f"{str(run)!r}: expected {BEST}; let the first epoch finish")
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(run)!r}: expected the folder of a run of chestx train") from error
    if not isinstance(record, dict) or (missing := [key for key in _NEEDED if key not in record]):
        detail = f", {missing[0]} is missing" if isinstance(record, dict) else ""
        raise UsageError(
            f"{str(run / RUN)!r}: expected the record of a run of chestx train{detail}"
        )
    return record


def read_config(run: Path, record: dict[str, Any]) -> TrainConfig:
    """The configuration of a run."""
    return config_from_table(record["config"], where=str(run / RUN))


def load_trained(run: Path, record: dict[str, Any]) -> Network:
    """The network of a run with its best weights."""
    config = read_config(run, record)
    network = build_network(
        config.backbone,
        labels=len(record["labels"]),
        hidden_features=config.hidden_features,
        dropout=config.dropout,
        output_stride=config.output_stride,
    )
    load_best(network, run)
    return network


def select_for_card(record: dict[str, Any]) -> dict[str, Any]:
    """The part of the record that a card carries on: no path, no machine."""
    kept = {key: record[key] for key in _CARRIED if key in record}
    return {**kept, "config": _name_files(record["config"])}


def _name_files(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without where its files lay, which tells of a person, not of a model."""
    table = {key: value for key, value in config.items() if key != "cache"}
    table["manifest"] = Path(table["manifest"]).name
    if "weights" in table:
        table["weights"] = _name_weights(Path(table["weights"]))
    if "unlabelled" in table:
        table["unlabelled"] = [Path(name).name for name in table["unlabelled"]]
    return table


def _name_weights(path: Path) -> str:
    """Those of a run have the same name in every run: the folder says which."""
    return "/".join(path.parts[-2:]) if path.name == BEST and path.parent.name else path.name
