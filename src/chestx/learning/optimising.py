"""Variants of a model in other precisions, kept where they answer as the model itself does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from chestx.datasets.example import Example, Manifest
from chestx.datasets.manifest import ManifestTable
from chestx.domain import InputSpec, Limits, Precision, PrecisionVariant, UsageError
from chestx.evaluation.precision import merge_variants, try_precisions
from chestx.evaluation.recalibrate import take_calibration_rows
from chestx.images.pool import prepare_images
from chestx.images.preparation import Preparation, PreparationError
from chestx.learning.quantising import CALIBRATION_IMAGES, quantise_graph
from chestx.models.derive import derive_model_folder
from chestx.models.folder import INT8_MODEL, ModelFolder
from chestx.shapes import UInt8

ReadPixels = Callable[[], UInt8[np.ndarray, "images size size"]]


def optimise_model(
    folder: ModelFolder,
    table: ManifestTable,
    out: Path,
    *,
    precisions: Sequence[Precision],
    name: str,
    workers: int | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> ModelFolder:
    """Makes a model folder whose card tells of variants, and which holds those that are kept.

    Args:
        folder: verified; it stays as it is.
        table: labelled images. Rows of the split validation are compared on; rows of the
            split train are looked at for int8 only, rows of the test never.
        out: the new folder; nothing of that name may be there.
        precisions: that are tried.
        name: of the manifest, for the card.
        workers: child processes that decode.
        on_stage: is told what is done.
        on_image: is called with how many are done and how many there are.

    Raises:
        UsageError: nothing to try, no rows to try it on, or something at ``out``.
        ChestxError: this processor cannot compute in a precision, or the disk is full.
    """
    if os.path.lexists(out):
        raise UsageError(f"{str(out)!r}: expected a name that is free, something is there already")
    if not precisions:
        raise UsageError("precisions: expected some of bf16, int8, got none")
    validation, data = take_calibration_rows(table, name=name)
    variants, contents = try_variants(
        folder,
        validation,
        lambda: read_training_images(table.manifest, folder.card.input, workers=workers),
        precisions=precisions,
        data=data,
        workers=workers,
        on_stage=on_stage,
        on_image=on_image,
    )
    card = replace(folder.card, precisions=merge_variants(folder.card.precisions, variants))
    return derive_model_folder(folder, out, card=card, contents=contents)


def try_variants(
    folder: ModelFolder,
    validation: ManifestTable,
    read_pixels: ReadPixels,
    *,
    precisions: Sequence[Precision],
    data: str,
    workers: int | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> tuple[tuple[PrecisionVariant, ...], Mapping[str, bytes]]:
    """Makes variants and compares them.

    Args:
        folder: verified.
        validation: of the images that are compared on.
        read_pixels: gives model inputs of training images; called for int8 only.
        precisions: that are tried.
        data: what the validation images are, in words.
        workers, on_stage, on_image: as in :func:`optimise_model`.

    Returns:
        The evidence, and the files that a folder with the kept variants has to hold.
    """
    if Precision.INT8 in precisions:
        if folder.ensemble:
            raise UsageError(
                f"{folder.identity}: expected a single model for int8, got an ensemble; "
                "try bf16 alone"
            )
        if on_stage is not None:
            on_stage("making an int8 graph on training images")
        graph = quantise_graph(folder.graph, read_pixels())
        folder = replace(folder, int8_graph=graph)
    variants = try_precisions(
        folder,
        validation,
        precisions,
        data=data,
        workers=workers,
        on_stage=on_stage,
        on_image=on_image,
    )
    is_kept = any(one.kept and one.precision is Precision.INT8 for one in variants)
    return variants, {INT8_MODEL: folder.int8_graph} if is_kept else {}


def read_training_images(
    manifest: Manifest, spec: InputSpec, *, workers: int | None = None
) -> UInt8[np.ndarray, "images size size"]:
    """Model inputs of a sample of the training images, of every source and label alike.

    Raises:
        UsageError: the manifest has no training rows, or none of them can be read.
    """
    training = [example for example in manifest.examples if example.split == "train"]
    if not training:
        present = sorted({example.split or "(empty)" for example in manifest.examples})
        raise UsageError(
            "int8: expected rows of the split train to take the ranges from, got "
            f"{', '.join(present)}"
        )
    paths = [manifest.resolve(one) for one in draw_evenly(training, CALIBRATION_IMAGES)]
    preparation = Preparation(input=spec, preview_size=0, limits=Limits())
    pixels = [
        image.pixels
        for image in prepare_images(paths, preparation, workers=workers)
        if not isinstance(image, PreparationError)
    ]
    if not pixels:
        raise UsageError(f"int8: expected training images, got {len(paths)} that cannot be read")
    return np.stack(pixels)


def draw_evenly(examples: Sequence[Example], count: int, *, seed: int = 0) -> list[Example]:
    """A sample in which every source and label has its turn, while it has images."""
    order = np.random.default_rng(seed).permutation(len(examples))
    turns: dict[tuple[object, ...], int] = {}
    ranked = []
    for place, number in enumerate(order):
        example = examples[number]
        kind = (example.source, *example.targets)
        turns[kind] = turns.get(kind, 0) + 1
        ranked.append((turns[kind], place, example))
    ranked.sort(key=lambda item: item[:2])
    return [example for *_, example in ranked[:count]]
