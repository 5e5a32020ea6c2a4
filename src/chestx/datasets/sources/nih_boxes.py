"""The boxes of NIH ChestX-ray14, in pixels of the images that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chestx.datasets.example import Box, Example
from chestx.datasets.sources.common import read_table
from chestx.datasets.vocabulary import align_label
from chestx.domain import UsageError

SIDE = 1024
"""Pixels a side of the published images, which the boxes are in."""

COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
WORDS = {
    "Atelectasis": "ATELECTASIS",
    "Cardiomegaly": "CARDIOMEGALY",
    "Effusion": "PLEURAL_EFFUSION",
    "Infiltrate": "INFILTRATION",
    "Mass": "MASS",
    "Nodule": "NODULE",
    "Pneumonia": "PNEUMONIA",
    "Pneumothorax": "PNEUMOTHORAX",
}


def read_boxes(path: Path) -> dict[str, list[Box]]:
    """File name -> boxes in pixels of the published images; empty where there is no table.

    Raises:
        UsageError: unknown columns or labels, a box that is none.
    """
    boxes: dict[str, list[Box]] = {}
    if not path.is_file():
        return boxes
    for row in read_table(path, COLUMNS):
        label = align_label(row["Finding Label"], WORDS, source=f"{row.table}, line {row.line}")
        try:
            x, y, width, height = (float(row[column]) for column in COLUMNS[2:])
            box = Box(label=label, x=x, y=y, width=width, height=height)
        except ValueError as error:
            raise row.fail(f"expected a box of x, y, width and height: {error}") from None
        boxes.setdefault(row["Image Index"], []).append(box)
    return boxes


def scale_boxes(example: Example, boxes: Sequence[Box], *, folder: Path) -> Example:
    """The example with its boxes, in pixels of its own file.

    Args:
        example: whose path counts from ``folder``.
        boxes: in pixels of the published image.
        folder: the scanned one.

    Raises:
        UsageError: there are boxes and the image's size cannot be read.
    """
    if not boxes:
        return example
    columns, rows = _read_size(folder / example.path)
    x, y = columns / SIDE, rows / SIDE
    return replace(
        example,
        boxes=tuple(
            Box(label=b.label, x=b.x * x, y=b.y * y, width=b.width * x, height=b.height * y)
            for b in boxes
        ),
    )


def _read_size(path: Path) -> tuple[int, int]:
    """Columns and rows, from the header alone: the set exists in smaller copies."""
    start = b""
    if path.is_file():  # Not a pipe, which would be waited for.
        with open(path, "rb") as file:
            start = file.read(24)
    # PNG (ISO/IEC 15948) 5.2 and 11.2.2: signature, length, IHDR, width, height.
    if start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR" or len(start) < 24:
        raise UsageError(
            f"{str(path)!r}: expected a PNG as the set is published, because its boxes have to "
            "be scaled to it, got another file; remove BBox_List_2017.csv to go without boxes"
        )
    return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
