"""A finished run becomes a model folder: network, calibration, references and card."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from chestx.datasets.example import Task
from chestx.datasets.manifest import ManifestTable, read_manifest
from chestx.domain import (
    Activation,
    ChestxError,
    Label,
    LabelRole,
    ModelCard,
    OperatingPoint,
    Precision,
    ScopeSpec,
    UsageError,
)
from chestx.evaluation.collect import collect_outcomes
from chestx.evaluation.measure import measure
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.recalibrate import CalibrationRules, recalibrate
from chestx.evaluation.result import ALL, Evaluation
from chestx.learning.averaging import average_weights, load_member
from chestx.learning.config import TrainConfig
from chestx.learning.dataset import LabelledImages, prepare_split
from chestx.learning.export import export_network
from chestx.learning.finished import read_config, read_run, select_for_card
from chestx.learning.optimising import try_variants
from chestx.learning.published import encode_weights
from chestx.learning.quantising import CALIBRATION_IMAGES
from chestx.models.card import FORMAT_VERSION, card_to_json, render_card
from chestx.models.classifier import KNOWN_LOGITS, KNOWN_PIXELS, Classifier, apply_temperature
from chestx.models.folder import (
    CARD,
    INT8_MODEL,
    MODEL,
    REFERENCE,
    WEIGHTS,
    load_model_folder,
)
from chestx.models.runtime import Runtime, load_runtime
from chestx.models.scope import COMPONENTS, Reference, fit_reference
from chestx.shapes import Float, Float32, UInt8

DISTANCE_QUANTILE, DISTANCE_STEP, LEAST_GROUP = 0.98, 0.05, 20
"""The limit of the distance lets this share of the validation images of every source through,
rounded up to the step; of sources with at least so many images."""

_MAP_QUANTILE = 0.99
_PUBLISHED_FIGURES = ("AUROC", "ECE", "sensitivity", "specificity", "coverage")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTexts:
    """What only a person can say of a model.

    Attributes:
        name, version, summary: identity in words.
        displays, caveats: label key -> how it is written, and what a reader must know of it.
        intended_use, not_looked_for, limitations: sentences.
        licence, licence_file: of the weights: in a sentence, and the text of the file.
        scope: which images it may answer for.
        training: further provenance, plain values.
    """

    name: str
    version: str
    summary: str
    displays: dict[str, str] = field(default_factory=dict)
    caveats: dict[str, str] = field(default_factory=dict)
    intended_use: str = "Research and teaching. Not for diagnosis, triage or treatment of patients."
    not_looked_for: str = "Everything that is not among its labels."
    limitations: tuple[str, ...] = ()
    licence: str = "Not stated; see the licences of the training data and of the first weights."
    licence_file: str = "The licence of these weights was not stated.\n"
    scope: ScopeSpec = field(default_factory=ScopeSpec)
    training: dict[str, Any] = field(default_factory=dict)


def read_card_texts(path: Path) -> CardTexts:
    """Texts from a TOML file with the names of :class:`CardTexts`.

    Raises:
        UsageError: it cannot be read, or has an unknown key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        scope: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in table.pop("scope", {}).items()
        }
        table["limitations"] = tuple(table.get("limitations", ()))
        return CardTexts(**table, scope=ScopeSpec(**scope))
    except OSError as error:
        raise UsageError(f"{str(path)!r}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{str(path)!r}: expected the texts of a card: {error}") from error


def publish_run(
    run: Path,
    out: Path,
    *,
    texts: CardTexts,
    average_with: Sequence[Path] = (),
    rules: CalibrationRules | None = None,
    manifest: Path | None = None,
    precisions: Sequence[Precision] = (),
    workers: int | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> ModelCard:
    """Makes a model folder of the best weights of a run.

    Everything that is chosen is chosen on the run's validation images, through the very
    road that serves: the finished graph, decoding and preprocessing of the product.

    Args:
        run: folder that ``chestx train`` wrote.
        out: the new model folder; nothing of that name may be there.
        texts: what a person says of it.
        average_with: runs or model folders of the same network, whose weights are averaged
            with those of the run; everything after is measured on the average.
        rules: of thresholds and abstention.
        manifest: where it lies now, if it was moved; its content must be the same.
        precisions: variants that are compared with f32 on the validation images, and kept
            where they answer alike.
        workers: child processes that decode.
        on_stage: is told what is done.

    Raises:
        UsageError: no finished run, a changed manifest, networks that cannot be averaged, or
            something at ``out``.
        ChestxError: the graph gives other numbers than torch, or the disk is full.
    """
    if os.path.lexists(out):
        raise UsageError(f"{str(out)!r}: expected a name that is free, something is there already")
    tell = on_stage or (lambda stage: None)
    record = read_run(run)
    config = read_config(run, record)
    table = _read_same_manifest(manifest or Path(record["manifest"]), config, record)
    labels, task = tuple(record["labels"]), Task(record["task"])
    activation = Activation.SOFTMAX if task is Task.SINGLE_LABEL else Activation.SIGMOID
    member = load_member(run)
    others = [load_member(folder) for folder in average_with]
    if others:
        tell(f"averaging the weights of {len(others) + 1} networks")
        average_weights(member, others)
    tell("exporting the network")
    graph = export_network(member.network, size=config.size, activation=activation)
    tell("looking at the training images")
    images = prepare_split(
        table.manifest,
        config.train_split,
        spec=config.input,
        cache=Path(record["cache"]),
        workers=workers,
    )
    runtime = load_runtime(graph)
    arrays = _fit_arrays(runtime, images, config.size)
    card = _draft_card(texts, config, labels, activation, runtime, record, images)
    if others:
        described = [other.described for other in others]
        card = replace(card, training={**card.training, "averaged_with": described})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            draft = Path(name) / "model"
            draft.mkdir()
            (draft / MODEL).write_bytes(graph)
            (draft / WEIGHTS).write_bytes(encode_weights(member.network.state_dict()))
            (draft / "LICENSE").write_text(texts.licence_file, encoding="utf-8")
            _write_folder(draft, card, arrays)
            tell("choosing temperature and thresholds on the validation images")
            card, arrays = _calibrate(draft, card, arrays, table, config, rules, workers)
            _write_folder(draft, card, arrays)
            Classifier.load(draft, threads=1).check()
            if precisions:
                variants, contents = try_variants(
                    load_model_folder(draft),
                    _take_validation(table, config),
                    lambda: _draw_pixels(images),
                    precisions=precisions,
                    data="validation images of the run",
                    workers=workers,
                    on_stage=tell,
                )
                for file, content in contents.items():
                    (draft / file).write_bytes(content)
                _write_folder(draft, replace(card, precisions=variants), arrays)
            draft.rename(out)
    except OSError as error:
        raise ChestxError(f"{str(out)!r} cannot be written: {error.strerror or error}") from error
    return load_model_folder(out).card


def _read_same_manifest(path: Path, config: TrainConfig, record: dict[str, Any]) -> ManifestTable:
    table = read_manifest(
        path,
        columns=config.columns,
        labels=list(config.labels) or None,
        rename=config.rename,
        where=list(config.where),
    )
    if table.sha256 != record["manifest_sha256"]:
        raise UsageError(
            f"{str(path)!r}: expected the manifest that the run learnt from "
            f"({record['manifest_sha256'][:12]}), got another ({table.sha256[:12]})"
        )
    return table


def _draw_pixels(images: LabelledImages) -> UInt8[np.ndarray, "images size size"]:
    """Training images for the ranges of an int8 graph, spread over all of them."""
    rows = np.linspace(0, len(images) - 1, min(CALIBRATION_IMAGES, len(images))).astype(int)
    return np.array(images.pixels[np.unique(rows)])


def _fit_arrays(runtime: Runtime, images: LabelledImages, size: int) -> dict[str, np.ndarray]:
    """What ``reference.npz`` holds of the training images, and the known answers."""
    embedding = np.concatenate(
        [
            runtime.run(np.asarray(images.pixels[start : start + 64])[:, None]).embedding
            for start in range(0, len(images), 64)
        ]
    )
    if not np.abs(embedding).max(axis=1).all():
        raise ChestxError(
            "the network gives no features for some of its training images: it has learnt nothing; "
            "train it longer, or with a smaller learning_rate"
        )
    components = min(COMPONENTS, min(embedding.shape) - 1)
    return {**fit_reference(embedding, components=components), **make_known_answer(runtime, size)}


def make_known_answer(runtime: Runtime, size: int) -> dict[str, np.ndarray]:
    """Images that no patient is in, and the logits they give, to check a machine with."""
    rows, columns = np.mgrid[0:size, 0:size]
    ramp = (rows + columns) * 255 // (2 * size - 2)
    waves = 128 + 100 * np.sin(rows / 9.0) * np.cos(columns / 13.0)
    pixels: UInt8[np.ndarray, "images size size"] = np.stack([ramp, waves]).astype(np.uint8)
    return {KNOWN_PIXELS: pixels, KNOWN_LOGITS: runtime.run(pixels[:, None]).logits}


def _draft_card(
    texts: CardTexts,
    config: TrainConfig,
    labels: tuple[str, ...],
    activation: Activation,
    runtime: Runtime,
    record: dict[str, Any],
    images: LabelledImages,
) -> ModelCard:
    """A card without anything that must be measured."""
    point = OperatingPoint(0.5, 0.5, 0.5)
    cells: dict[str, int] = {}
    for row, source in zip(images.targets, images.sources, strict=True):
        for key in (label for label, value in zip(labels, row, strict=True) if value == 1):
            name = f"{images.source_names[source]} {key}".strip()
            cells[name] = cells.get(name, 0) + 1
    try:
        return ModelCard(
            format_version=FORMAT_VERSION,
            name=texts.name,
            version=texts.version,
            summary=texts.summary,
            labels=tuple(
                Label(
                    key=key,
                    display=texts.displays.get(key, key.lower().replace("_", " ")),
                    role=LabelRole.NO_FINDING if key == config.no_finding else LabelRole.FINDING,
                    operating_point=None if key == config.no_finding else point,
                    caveat=texts.caveats.get(key, ""),
                )
                for key in labels
            ),
            activation=activation,
            temperature=1.0,
            input=config.input,
            heatmap="cam",
            any_finding=point if config.no_finding else None,
            scope=texts.scope,
            embedding_size=runtime.shape.features,
            intended_use=texts.intended_use,
            not_looked_for=texts.not_looked_for,
            licence=texts.licence,
            files={},
            limitations=texts.limitations,
            training={
                **texts.training,
                "images": dict(sorted(cells.items())),
                "run": select_for_card(record),
            },
        )
    except ValueError as error:
        raise UsageError(f"card: {error}") from error


def _calibrate(
    draft: Path,
    card: ModelCard,
    arrays: dict[str, np.ndarray],
    table: ManifestTable,
    config: TrainConfig,
    rules: CalibrationRules | None,
    workers: int | None,
) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """Everything that is chosen on validation images, and what is measured there."""
    validation = _take_validation(table, config)
    classifier = Classifier.load(draft, threads=1)
    outcomes = collect_outcomes(classifier, validation, workers=workers)
    limit = choose_distance_limit(
        Reference.from_arrays(arrays), outcomes.embeddings, outcomes.attributes["source"]
    )
    peaks, greys = _look_at_inputs(classifier, validation, config, workers)
    card = replace(card, scope=replace(card.scope, max_distance=limit))
    card = recalibrate(replace(outcomes, card=card), rules or CalibrationRules())
    labels = tuple(
        replace(label, map_scale=max(round(float(scale), 4), 1e-3))
        for label, scale in zip(card.labels, np.quantile(peaks, _MAP_QUANTILE, axis=0), strict=True)
    )
    card = replace(card, labels=labels)
    assessed = outcomes.logits[outcomes.is_assessed]
    arrays = arrays | summarise_for_drift(
        apply_temperature(assessed, card), outcomes.embeddings[outcomes.is_assessed], greys
    )
    figures = _measure_validation(outcomes, card, table)
    return replace(card, performance=figures), arrays


def _take_validation(table: ManifestTable, config: TrainConfig) -> ManifestTable:
    examples = tuple(
        example for example in table.manifest.examples if example.split == config.validation_split
    )
    return replace(table, manifest=replace(table.manifest, examples=examples))


def choose_distance_limit(
    reference: Reference,
    embeddings: Float32[np.ndarray, "images features"],
    sources: tuple[str, ...],
) -> float:
    """The limit by the rule at DISTANCE_QUANTILE."""
    known = np.isfinite(embeddings).all(axis=1)
    distances = np.array([reference.distance(row) for row in embeddings[known]])
    names = np.array(sources)[known]
    kept = [name for name in np.unique(names) if (names == name).sum() >= LEAST_GROUP]
    parts = [distances[names == name] for name in kept] or [distances]
    highest = max(float(np.quantile(part, DISTANCE_QUANTILE)) for part in parts)
    return round(float(np.ceil(highest / DISTANCE_STEP) * DISTANCE_STEP), 4)


def _look_at_inputs(
    classifier: Classifier, table: ManifestTable, config: TrainConfig, workers: int | None
) -> tuple[Float[np.ndarray, "images labels"], Float[np.ndarray, " images"]]:
    """Highest value of each map, and mean grey, of every validation image."""
    from chestx.domain import Limits
    from chestx.images.pool import prepare_images
    from chestx.images.worker import Preparation, PreparationError

    manifest = table.manifest
    preparation = Preparation(input=config.input, preview_size=0, limits=Limits())
    peaks, greys = [], []
    paths = [manifest.resolve(example) for example in manifest.examples]
    for image in prepare_images(paths, preparation, workers=workers):
        if not isinstance(image, PreparationError):
            [prediction] = classifier.predict(image.pixels[None])
            peaks.append(prediction.maps.max(axis=(1, 2)).astype(np.float64))
            greys.append(float(image.pixels.mean()))
    return np.stack(peaks), np.array(greys)


def summarise_for_drift(
    probabilities: Float32[np.ndarray, "images labels"],
    embeddings: Float32[np.ndarray, "images features"],
    greys: Float[np.ndarray, " inputs"],
) -> dict[str, np.ndarray]:
    """How validation images look to the model: bins are of equal width, ends included."""
    return {
        "drift_embedding_mean": embeddings.mean(axis=0),
        "drift_embedding_std": embeddings.std(axis=0),
        "drift_grey_histogram": np.histogram(greys, bins=32, range=(0, 255))[0],
        "drift_probability_histogram": np.stack(
            [np.histogram(column, bins=20, range=(0, 1))[0] for column in probabilities.T]
        ),
    }


def _measure_validation(
    outcomes: Outcomes, card: ModelCard, table: ManifestTable
) -> tuple[Any, ...]:
    from chestx.evaluation.recalibrate import decide_again

    again = decide_again(outcomes, card, identity=outcomes.identity)
    evaluation: Evaluation = measure(
        again,
        data="validation",
        manifest_sha256=table.sha256,
        left_out={},
        columns=("source",),
    )
    remark = "settings were chosen on these images, so it is somewhat too good"
    return tuple(
        replace(figure, note=f"{figure.note}; {remark}" if figure.note else remark)
        for answered in evaluation.answers
        if answered.slice_key == ALL or answered.slice_key.startswith("source=")
        for figure in answered.figures
        if figure.name in _PUBLISHED_FIGURES and "counted as wrong" not in figure.subject
    )


def _write_folder(draft: Path, card: ModelCard, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(sorted(arrays.items())))
    (draft / REFERENCE).write_bytes(buffer.getvalue())
    (draft / "README.md").write_text(render_card(card), encoding="utf-8")
    names = [MODEL, WEIGHTS, REFERENCE, "LICENSE", "README.md"]
    if (draft / INT8_MODEL).exists():
        names.append(INT8_MODEL)
    files = {name: hashlib.sha256((draft / name).read_bytes()).hexdigest() for name in names}
    (draft / CARD).write_text(card_to_json(replace(card, files=files)), encoding="utf-8")
