"""The weights of several networks of one kind, averaged into one network.

Networks that began with the same weights and learnt from differently augmented images often lie in
one basin of the loss: the mean of their weights answers at the cost of one network, and on images
of places that none of them saw it is often better than each. The mean of a network and of what it
began with can be so too. That holds by measurement only: the mean of networks that began apart
knows nothing.

Source: Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves
accuracy without increasing inference time, ICML 2022; Robust fine-tuning of zero-shot models, CVPR
2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from chestx.domain import InputSpec, UsageError
from chestx.learning.backbones import BACKBONES, Network
from chestx.learning.config import TrainConfig
from chestx.learning.finished import (
    RUN,
    load_trained,
    read_config,
    read_run,
    select_for_card,
)
from chestx.learning.published import load_network, read_network_config
from chestx.models.folder import CARD, load_model_folder


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One network whose weights are averaged.

    Attributes:
        where: its folder, for messages.
        network: with its weights.
        architecture: what it was built from, as far as its tensors may not tell.
        labels: in the order of its logits.
        spec: how its images are prepared.
        split_sha256: of the rows it learnt from and was chosen by; empty if its card does not say.
        described: what a card says of it.
    """

    where: str
    network: Network
    architecture: dict[str, Any]
    labels: tuple[str, ...]
    spec: InputSpec
    split_sha256: str
    described: dict[str, Any]


def load_member(folder: Path) -> Member:
    """A run of ``chestx train``, or a model folder with weights.

    Raises:
        UsageError: it is neither.
        InvalidModelError: a model folder that is damaged.
    """
    if (folder / RUN).is_file():
        record = read_run(folder)
        config = read_config(folder, record)
        return Member(
            where=repr(str(folder)),
            network=load_trained(folder, record),
            architecture=_describe_architecture(config),
            labels=tuple(record["labels"]),
            spec=config.input,
            split_sha256=record["split_sha256"],
            described={"run": select_for_card(record)},
        )
    if not (folder / CARD).is_file():
        raise UsageError(
            f"{str(folder)!r}: expected a run of chestx train or a model folder, got neither"
        )
    model = load_model_folder(folder)
    run = model.card.training.get("run")
    known = run if isinstance(run, dict) else {}
    return Member(
        where=str(model.identity),
        network=load_network(model),
        architecture=_describe_architecture(read_network_config(model.card, str(model.identity))),
        labels=tuple(label.key for label in model.card.labels),
        spec=model.card.input,
        split_sha256=str(known.get("split_sha256", "")),
        described={"model": str(model.identity)},
    )


def _describe_architecture(config: TrainConfig) -> dict[str, Any]:
    known = BACKBONES.get(config.backbone)
    return {
        "backbone": known.timm_name if known else config.backbone,
        "hidden_features": config.hidden_features,
        "output_stride": config.output_stride,
    }


@torch.no_grad()
def average_weights(first: Member, others: Sequence[Member], *, share: float | None = None) -> None:
    """Gives the network of the first the mean of all.

    Means and variances of batch normalisation are averaged like weights, counters stay those of
    the first.

    Args:
        first: is changed.
        others: stay as they are.
        share: what the first weighs, above 0 and below 1; the others weigh alike and make up the
            rest. Without it all weigh alike.

    Raises:
        UsageError: labels, preprocessing, network or the split are not the same, or a share out
            of range or of nothing.
    """
    check_share(share, others=len(others))
    for other in others:
        _check_alike(first, other)
    states = [member.network.state_dict() for member in (first, *others)]
    own = 1 / len(states) if share is None else share
    rest = (1 - own) / max(1, len(others))
    weights = torch.tensor([own, *[rest] * len(others)], dtype=torch.float64)
    mean = {
        key: (
            torch.tensordot(
                weights, torch.stack([state[key].double() for state in states]), dims=1
            ).to(value.dtype)
            if value.is_floating_point()
            else value
        )
        for key, value in states[0].items()
    }
    first.network.load_state_dict(mean)


def check_share(share: float | None, *, others: int) -> None:
    """Whether the first of an average can weigh that much.

    Raises:
        UsageError: it cannot.
    """
    if share is None:
        return
    if not others:
        raise UsageError("a share is of an average: expected a network to average with, got none")
    if not 0 < share < 1:
        raise UsageError(f"share: expected a number above 0 and below 1, got {share:g}")


def _check_alike(first: Member, other: Member) -> None:
    if other.labels != first.labels:
        raise UsageError(
            f"{other.where}: expected the labels {', '.join(first.labels)} of {first.where}, "
            f"got {', '.join(other.labels)}"
        )
    if differing := _list_differences(asdict(first.spec), asdict(other.spec)):
        raise UsageError(
            f"{other.where}: expected images to be prepared as for {first.where}, got another "
            f"{differing}"
        )
    if differing := _list_differences(first.architecture, other.architecture):
        raise UsageError(
            f"{other.where}: expected the network of {first.where}, got another {differing}"
        )
    if other.split_sha256 and other.split_sha256 != first.split_sha256:
        raise UsageError(
            f"{other.where}: expected the same rows and splits as {first.where}, got others; "
            "thresholds would be chosen on images that one of them learnt from"
        )
    shapes = [
        {key: value.shape for key, value in member.network.state_dict().items()}
        for member in (first, other)
    ]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"{other.where}: expected the network of {first.where}, got one with other tensors"
        )
    for key in ("mean", "std"):
        if not torch.equal(first.network.state_dict()[key], other.network.state_dict()[key]):
            raise UsageError(
                f"{other.where}: expected grey values to be normalised as in {first.where}"
            )


def _list_differences(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    """Empty where there are none."""
    return ", ".join(
        f"{key} ({found[key]}, not {wanted[key]})" for key in wanted if found[key] != wanted[key]
    )
