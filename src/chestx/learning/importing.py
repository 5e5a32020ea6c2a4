"""``chestx model import``: networks that were trained elsewhere become model folders."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from chestx.domain import (
    Activation,
    Label,
    LabelRole,
    ModelCard,
    OperatingPoint,
    ScopeSpec,
    UsageError,
)
from chestx.learning.card_texts import CardTexts
from chestx.learning.export import export_network
from chestx.learning.importing_description import OnnxDescription
from chestx.learning.importing_folder import ImportedNetwork, check_free, write_imported
from chestx.learning.importing_onnx import wrap_onnx
from chestx.learning.importing_pickle import read_pickled_state
from chestx.learning.importing_read import read_onnx
from chestx.learning.importing_xrv import PUBLISHED, build_published, find_published

FRONTAL = ScopeSpec(
    modalities=("CR", "DX", "DR", "RG", "OT"),
    body_parts=("CHEST", "THORAX", "LUNG"),
    views=("PA", "AP"),
)
"""Which images an imported network answers for, where a person says nothing else."""

_XRV_LIMITS = (
    "Probabilities are the sigmoids of the network, far below 0.5 also for what it finds. The "
    "thresholds are the operating points that torchxrayvision publishes for them; its own "
    "output rescales them so that the threshold becomes 0.5, which gives the same decisions.",
)
_XRV_LICENCE = (
    "Weights of torchxrayvision (Apache-2.0 as software); the sets that they were trained on "
    "have terms of their own."
)


def import_torchxrayvision(
    path: Path,
    out: Path,
    *,
    weights: str | None = None,
    texts: CardTexts | None = None,
    images: Path | None = None,
    workers: int | None = None,
) -> ModelCard:
    """Makes a model folder of a checkpoint that torchxrayvision published.

    The file is read once, without running anything that it names; outputs that were not
    trained are left out.

    Args:
        path: the checkpoint.
        out: the new model folder; nothing of that name may be there.
        weights: its name in torchxrayvision; None where the file has its published name.
        texts: what a person says of it; None for what is known.
        images: see :func:`~chestx.learning.importing_folder.write_imported`.
        workers: child processes that decode.

    Raises:
        UsageError: an unknown name, another file, or something at ``out``.
        ChestxError: the graph gives other numbers than torch.
    """
    check_free(out)
    name = find_published(path, weights)
    network, labels = build_published(name, read_pickled_state(path))
    item = PUBLISHED[name]
    graph = export_network(network, size=item.size, activation=Activation.SIGMOID)
    imported = ImportedNetwork(
        graph=graph,
        labels=labels,
        activation=Activation.SIGMOID,
        size=item.size,
        heatmap="cam",
        has_features=True,
        limitations=_XRV_LIMITS,
        training={
            "data": item.data,
            "backbone": item.backbone,
            # Whoever trains on from the weights must feed them the same values.
            "normalisation": {"mean": float(network.mean), "std": float(network.std)},
            "imported_from": {"weights": name, "package": "torchxrayvision", **_describe(path)},
        },
        weights=network.state_dict(),
    )
    given = texts or CardTexts(
        name=f"torchxrayvision {name}"[:64],
        version="1",
        summary=f"{len(labels)} findings on chest radiographs, learnt from {item.data}.",
        licence=_XRV_LICENCE,
        scope=FRONTAL,
    )
    return write_imported(imported, out, texts=given, images=images, workers=workers)


def import_onnx(
    path: Path,
    out: Path,
    *,
    description: OnnxDescription,
    texts: CardTexts | None = None,
    images: Path | None = None,
    workers: int | None = None,
) -> ModelCard:
    """Makes a model folder of any image classifier in ONNX.

    Args:
        path: the graph; its weights must be inside.
        out: the new model folder; nothing of that name may be there.
        description: what the graph does not say of itself.
        texts: what a person says of it; None for a card that says what is known.
        images: see :func:`~chestx.learning.importing_folder.write_imported`.
        workers: child processes that decode.

    Raises:
        UsageError: a graph that cannot be run, one that the description does not fit, or
            something at ``out``.
        ChestxError: the wrapped graph gives other numbers than the graph.
    """
    check_free(out)
    labels = _make_labels(description)
    wrapped = wrap_onnx(read_onnx(path), description)
    imported = ImportedNetwork(
        graph=wrapped.graph,
        labels=labels,
        activation=wrapped.activation,
        size=wrapped.size,
        heatmap=wrapped.heatmap,
        has_features=wrapped.has_features,
        limitations=(),
        training={"imported_from": {**_describe(path), **wrapped.record}},
    )
    given = texts or CardTexts(
        name=_clean(out.name)[:64] or "imported",
        version="1",
        summary=f"An imported network for {', '.join(x.display for x in labels)}.",
        scope=FRONTAL,
    )
    return write_imported(imported, out, texts=given, images=images, workers=workers)


def complete_texts(texts: CardTexts) -> CardTexts:
    """Texts that say nothing of the scope get the usual one."""
    return replace(texts, scope=FRONTAL) if texts.scope == ScopeSpec() else texts


def _make_labels(description: OnnxDescription) -> tuple[Label, ...]:
    if description.no_finding and description.no_finding not in description.labels:
        raise UsageError(
            f"--no-finding: expected one of {', '.join(description.labels)}, "
            f"got {description.no_finding!r:.80}"
        )
    point = OperatingPoint(0.5, 0.5, 0.5)
    try:
        return tuple(
            Label(
                key=key,
                display=key.replace("_", " ").lower(),
                role=LabelRole.NO_FINDING if key == description.no_finding else LabelRole.FINDING,
                operating_point=None if key == description.no_finding else point,
            )
            for key in description.labels
        )
    except ValueError as error:
        raise UsageError(f"--labels: {error}") from error


def _describe(path: Path) -> dict[str, Any]:
    return {
        "file": _clean(path.name)[:200],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _clean(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())
