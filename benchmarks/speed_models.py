"""Model folders to measure speed on: architectures with random weights, and other precisions.

Their numbers mean nothing; a folder that is made here is for a clock alone and lies in a
folder that is taken away afterwards.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from chestx.domain import Precision, PrecisionFigure, PrecisionMeasure, PrecisionVariant
from chestx.models.derive import derive_model_folder
from chestx.models.folder import MODEL, REFERENCE, ModelFolder, load_model_folder, resolve_model


def make_folder(name: str, precision: str, root: Path) -> str:
    """The path of a model folder that may run at a precision.

    Args:
        name: ``default``, the path of a folder, or a backbone of ``chestx train``, which
            gets random weights and needs torch.
        precision: ``f32`` or ``bf16``.
        root: where it is made.
    """
    random = name != "default" and not Path(name).is_dir()
    folder = load_model_folder(resolve_model(None if name == "default" or random else name))
    if random:
        folder = _fill_randomly(folder, name, root)
    variant = folder.card.find_precision(Precision(precision))
    if precision == "f32" or (variant is not None and variant.kept):
        return str(folder.path)
    target = root / f"{Path(name).name}-{precision}"
    if target.is_dir():
        return str(target)
    kept = [other for other in folder.card.precisions if other.precision != precision]
    card = replace(folder.card, precisions=(*kept, _claim(Precision(precision))))
    return str(derive_model_folder(folder, target, card=card).path)


def _fill_randomly(folder: ModelFolder, name: str, root: Path) -> ModelFolder:
    target = root / f"{name}-f32"
    if target.is_dir():
        return load_model_folder(target)
    from chestx.learning.backbones import build_network
    from chestx.learning.export import export_network

    card = folder.card
    network = build_network(name, labels=len(card.labels))
    graph = export_network(network, size=card.input.size, activation=card.activation)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False)
    card = replace(
        card,
        name=f"speed-of-{name}",
        embedding_size=network.head.in_features,
        scope=replace(card.scope, max_distance=None),
    )
    contents = {MODEL: graph, REFERENCE: buffer.getvalue()}
    return derive_model_folder(folder, target, card=card, contents=contents)


def _claim(precision: Precision) -> PrecisionVariant:
    """Says that a precision was compared, which it was not: only a clock reads this folder."""
    figure = PrecisionFigure(
        measure=PrecisionMeasure.DECISIONS_ALIKE,
        slice_key="all",
        subject="nothing",
        value=1.0,
        limit=0.5,
        n=1,
    )
    return PrecisionVariant(
        precision=precision,
        kept=True,
        data="none; for a clock alone",
        images=1,
        figures=(figure,),
        known_gap=0.0,
        speed=1.0,
        made_by="benchmarks/speed_models.py",
    )
