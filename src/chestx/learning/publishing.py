"""A finished run becomes a model folder: network, calibration, references and card."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
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
    UsageError,
)
from chestx.evaluation.recalibrate import CalibrationRules
from chestx.learning.averaging import average_weights, check_share, load_member
from chestx.learning.calibrating import calibrate_draft, take_validation
from chestx.learning.card_texts import CardTexts
from chestx.learning.config import TrainConfig
from chestx.learning.dataset import LabelledImages, prepare_split
from chestx.learning.export import export_network
from chestx.learning.finished import read_config, read_run, select_for_card
from chestx.learning.optimising import try_variants
from chestx.learning.published import encode_weights
from chestx.learning.quantising import CALIBRATION_IMAGES
from chestx.learning.reference import fit_arrays
from chestx.models.card import FORMAT_VERSION, card_to_json, render_card
from chestx.models.classifier import Classifier
from chestx.models.folder import (
    CARD,
    INT8_MODEL,
    MODEL,
    REFERENCE,
    WEIGHTS,
    load_model_folder,
)
from chestx.models.runtime import Runtime, load_runtime
from chestx.shapes import UInt8


def publish_run(
    run: Path,
    out: Path,
    *,
    texts: CardTexts,
    average_with: Sequence[Path] = (),
    share: float | None = None,
    rules: CalibrationRules | None = None,
    manifest: Path | None = None,
    precisions: Sequence[Precision] = (),
    half_weights: bool = False,
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
        share: what the run weighs among them, above 0 and below 1; the others weigh alike.
            Without it all weigh alike.
        rules: of thresholds and abstention.
        manifest: where it lies now, if it was moved; its content must be the same.
        precisions: variants that are compared with f32 on the validation images, and kept
            where they answer alike.
        half_weights: store the weights of the graph as float16; all that is chosen and measured is
            chosen and measured with them so.
        workers: child processes that decode.
        on_stage: is told what is done.

    Raises:
        UsageError: no finished run, a changed manifest, networks that cannot be averaged, a
            share out of range, or something at ``out``.
        ChestxError: the graph gives other numbers than torch, or the disk is full.
    """
    if os.path.lexists(out):
        raise UsageError(f"{str(out)!r}: expected a name that is free, something is there already")
    check_share(share, others=len(average_with))
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
        average_weights(member, others, share=share)
    tell("exporting the network")
    graph = export_network(
        member.network, size=config.size, activation=activation, half_weights=half_weights
    )
    tell("looking at the training images")
    images = prepare_split(
        table.manifest,
        config.train_split,
        spec=config.input,
        cache=Path(record["cache"]),
        workers=workers,
    )
    runtime = load_runtime(graph)
    arrays = fit_arrays(runtime, images, size=config.size)
    card = _draft_card(texts, config, labels, activation, runtime, record, images)
    if others:
        described: dict[str, Any] = {"averaged_with": [other.described for other in others]}
        if share is not None:
            described["share_of_the_run"] = share
        card = replace(card, training={**card.training, **described})
    if half_weights:
        card = replace(card, training={**card.training, "weights_stored_as": "float16"})
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
            card, arrays = calibrate_draft(
                draft,
                card,
                arrays=arrays,
                table=table,
                config=config,
                rules=rules,
                workers=workers,
            )
            _write_folder(draft, card, arrays)
            Classifier.load(draft, threads=1).check()
            if precisions:
                variants, contents = try_variants(
                    load_model_folder(draft),
                    take_validation(table, config),
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
            scope=replace(texts.scope, max_distance=None),
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
