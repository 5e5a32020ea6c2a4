"""The model folder of a network that was trained elsewhere: what is known of it, and what not."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from chestx.batch.inputs import collect_inputs
from chestx.domain import (
    Activation,
    ChestxError,
    InputSpec,
    Label,
    LabelRole,
    Limits,
    ModelCard,
    OperatingPoint,
    UsageError,
)
from chestx.images.pool import prepare_images
from chestx.images.preparation import Preparation, PreparationError
from chestx.learning.calibrating import choose_distance_limit
from chestx.learning.card_texts import CardTexts
from chestx.learning.reference import make_known_answer
from chestx.models.card import FORMAT_VERSION, card_to_json, render_card
from chestx.models.classifier import Classifier
from chestx.models.folder import CARD, MODEL, REFERENCE, WEIGHTS, load_model_folder
from chestx.models.occlusion import SERVED_GRID, compute_occlusion_maps, score_evidence
from chestx.models.runtime import load_runtime
from chestx.models.scope import COMPONENTS, Reference, fit_reference
from chestx.shapes import Float, Float32, UInt8

MAP_SCALES = {"cam": 10.0, "occlusion": 1.0, "none": 1.0}
"""Map value drawn at full strength where no images tell it. Of a class activation map, one that
adds 1 to the logit for each tenth of the picture that shows it; of an occlusion map, 1 off the
logit when the place is hidden."""

LEAST_IMAGES, MOST_IMAGES, OCCLUDED_IMAGES = 50, 500, 20
"""Images that ``--images`` needs and takes, and of how many of them occlusion maps are made."""

_MAP_QUANTILE = 0.99
_UNCALIBRATED = (
    "It was trained elsewhere and was not measured here: its probabilities are not calibrated, "
    "and its thresholds were not chosen on images that were seen here; calibrate it before use."
)
_NOT_CHECKED = (
    "Whether an image is like those it learnt from is not checked: nothing of its training "
    "images came with it. Images of other kinds get an answer."
)
_STAND_IN = (
    "Likeness is checked against {n} images that were given when it was imported, not against "
    "those it learnt from."
)
_NO_FEATURES = "Its pooled features could not be found; its logits stand in for the embedding."
_SCALE = "The strength of its maps is drawn on a scale that was not measured on images."
_STRETCHED = (
    "Images are stretched to a square; its training may have treated their shape otherwise."
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ImportedNetwork:
    """A network in the form that runs, with what is known of it.

    Attributes:
        graph: ONNX with our input and outputs.
        labels: in the order of the logits; map scales are not looked at.
        activation: softmax or sigmoid.
        size: of the input in pixels.
        heatmap: ``cam``, ``occlusion`` or ``none``.
        has_features: whether the embedding is pooled features.
        limitations: sentences.
        training: provenance, plain values.
        weights: tensors to train on from; None for none.
    """

    graph: bytes
    labels: tuple[Label, ...]
    activation: Activation
    size: int
    heatmap: str
    has_features: bool
    limitations: tuple[str, ...]
    training: dict[str, Any]
    weights: Mapping[str, Tensor] | None = None


def write_imported(
    network: ImportedNetwork,
    out: Path,
    *,
    texts: CardTexts,
    images: Path | None = None,
    workers: int | None = None,
) -> ModelCard:
    """Writes the folder, whole or not at all.

    Args:
        network: what was imported.
        out: the new folder; nothing of that name may be there.
        texts: what a person says of it.
        images: folder of radiographs like those that the network was made for: the
            likeness check and the scale of the maps are taken from them. None: neither.
        workers: child processes that decode.

    Raises:
        UsageError: something at ``out``, texts that no card may hold, or too few images.
        ChestxError: the disk is full.
    """
    check_free(out)
    runtime = load_runtime(network.graph)
    arrays = make_known_answer(runtime, network.size)
    card = _draft_card(network, texts, features=runtime.shape.features)
    pixels = None if images is None else _read_images(images, network.size, workers)
    if pixels is not None and network.has_features:
        embeddings = np.concatenate([runtime.run(row[None, None]).embedding for row in pixels])
        fitted, limit = fit_likeness(embeddings)
        arrays |= fitted
        card = replace(card, scope=replace(card.scope, max_distance=limit))
    card = replace(card, limitations=(*card.limitations, *_list_limits(network, card, pixels)))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            draft = Path(name) / "model"
            draft.mkdir()
            (draft / MODEL).write_bytes(network.graph)
            (draft / "LICENSE").write_text(texts.licence_file, encoding="utf-8")
            if network.weights is not None:
                _save_half(network.weights, draft / WEIGHTS)
            _write_card(draft, card, arrays)
            classifier = Classifier.load(draft, threads=1)
            classifier.check()
            if pixels is not None and card.heatmap != "none":
                _write_card(draft, _scale_maps(card, classifier, pixels), arrays)
            draft.rename(out)
    except OSError as error:
        raise ChestxError(f"{str(out)!r} cannot be written: {error.strerror or error}") from error
    return load_model_folder(out).card


def check_free(out: Path) -> None:
    """That nothing stands where the folder is to be.

    Raises:
        UsageError: something does.
    """
    if os.path.lexists(out):
        raise UsageError(f"{str(out)!r}: expected a name that is free, something is there already")


def fit_likeness(
    embeddings: Float32[np.ndarray, "images features"],
) -> tuple[dict[str, np.ndarray], float]:
    """Reference arrays of one half of the images, and the limit that the other half sets.

    A limit taken from the images that the reference was fitted on would be too narrow.

    Raises:
        UsageError: embeddings that are not finite or zero.
    """
    fitted, held = embeddings[::2], embeddings[1::2]
    components = min(COMPONENTS, len(fitted) // 4, embeddings.shape[1] - 1)
    try:
        arrays = fit_reference(fitted, components=components)
        reference = Reference.from_arrays(arrays)
    except (ValueError, ChestxError) as error:
        raise UsageError(
            f"images: expected features that tell images apart, the network gives others: {error}"
        ) from error
    return arrays, choose_distance_limit(reference, held, ("images",) * len(held))


def _read_images(
    folder: Path, size: int, workers: int | None
) -> UInt8[np.ndarray, "images size size"]:
    paths = collect_inputs([str(folder)], standard_input=b"").paths
    step = max(len(paths) / MOST_IMAGES, 1.0)
    chosen = [paths[int(i * step)] for i in range(min(len(paths), MOST_IMAGES))]
    preparation = Preparation(input=InputSpec(size=size), preview_size=0, limits=Limits())
    found = [
        image.pixels
        for image in prepare_images(chosen, preparation, workers=workers)
        if not isinstance(image, PreparationError) and not image.quality.reasons
    ]
    if len(found) < LEAST_IMAGES:
        raise UsageError(
            f"images: expected at least {LEAST_IMAGES} radiographs in {str(folder)!r}, got "
            f"{len(found)} that could be read and were fit"
        )
    return np.stack(found)


def _draft_card(network: ImportedNetwork, texts: CardTexts, *, features: int) -> ModelCard:
    roles = [label.role for label in network.labels]
    scale = MAP_SCALES[network.heatmap]
    try:
        return ModelCard(
            format_version=FORMAT_VERSION,
            name=texts.name,
            version=texts.version,
            summary=texts.summary,
            labels=tuple(
                replace(
                    label,
                    display=texts.displays.get(label.key, label.display),
                    caveat=texts.caveats.get(label.key, label.caveat),
                    map_scale=scale,
                )
                for label in network.labels
            ),
            activation=network.activation,
            temperature=1.0,
            input=InputSpec(size=network.size),
            heatmap=network.heatmap,
            any_finding=OperatingPoint(0.5, 0.5, 0.5) if LabelRole.NO_FINDING in roles else None,
            # A limit belongs to a reference, and none came with the network.
            scope=replace(texts.scope, max_distance=None),
            embedding_size=features,
            intended_use=texts.intended_use,
            not_looked_for=texts.not_looked_for,
            licence=texts.licence,
            files={},
            limitations=(*texts.limitations, _UNCALIBRATED, _STRETCHED, *network.limitations),
            training={**texts.training, **network.training},
        )
    except ValueError as error:
        raise UsageError(f"card: {error}") from error


def _list_limits(
    network: ImportedNetwork, card: ModelCard, pixels: np.ndarray | None
) -> tuple[str, ...]:
    found = []
    if not network.has_features:
        found.append(_NO_FEATURES)
    if card.scope.max_distance is None or pixels is None:
        found.append(_NOT_CHECKED)
    else:
        found.append(_STAND_IN.format(n=len(pixels)))
    if pixels is None and card.heatmap != "none":
        found.append(_SCALE)
    return tuple(found)


def _scale_maps(
    card: ModelCard, classifier: Classifier, pixels: UInt8[np.ndarray, "images size size"]
) -> ModelCard:
    """Full strength is the 99th percentile of the highest value of each map."""
    peaks = _find_peaks(card, classifier, pixels)
    scales = np.quantile(peaks, _MAP_QUANTILE, axis=0)
    labels = tuple(
        replace(label, map_scale=max(round(float(scale), 4), 1e-3))
        for label, scale in zip(card.labels, scales, strict=True)
    )
    return replace(card, labels=labels)


def _find_peaks(
    card: ModelCard, classifier: Classifier, pixels: UInt8[np.ndarray, "images size size"]
) -> Float[np.ndarray, "images labels"]:
    if card.heatmap == "cam":
        maps = [classifier.predict(row[None])[0].maps for row in pixels]
    else:
        score = score_evidence(classifier)
        step = max(len(pixels) // OCCLUDED_IMAGES, 1)
        maps = [compute_occlusion_maps(score, row, grid=SERVED_GRID) for row in pixels[::step]]
    return np.stack([found.max(axis=(1, 2)) for found in maps]).astype(np.float64)


def _write_card(draft: Path, card: ModelCard, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(sorted(arrays.items())))
    (draft / REFERENCE).write_bytes(buffer.getvalue())
    (draft / "README.md").write_text(render_card(card), encoding="utf-8")
    names = [path.name for path in draft.iterdir() if path.name != CARD]
    files = {name: hashlib.sha256((draft / name).read_bytes()).hexdigest() for name in names}
    (draft / CARD).write_text(card_to_json(replace(card, files=files)), encoding="utf-8")


def _save_half(state: Mapping[str, Tensor], path: Path) -> None:
    """Kernels in half precision; the few vectors stay, variances do not survive the rounding."""
    halved = {
        name: (tensor.half() if tensor.ndim >= 2 else tensor).contiguous()
        for name, tensor in sorted(state.items())
    }
    save_file(halved, path)
