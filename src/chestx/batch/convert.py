"""One radiograph -> a PNG as chestx sees it."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from chestx.domain import ChestxError, ImageHeader, UsageError
from chestx.files import write_whole
from chestx.images.reading import read_radiograph


def convert_file(source: Path, target: Path, *, overwrite: bool = False) -> ImageHeader:
    """Reads a radiograph and writes its shown pixels; nothing of the header goes with them.

    Args:
        source: a DICOM, PNG, JPEG, TIFF or BMP file.
        target: a path that ends in ``.png``.
        overwrite: whether a file that is there may be replaced.

    Raises:
        UsageError: a target that is no PNG, or is there already.
        UnreadableImageError: a source that cannot become a radiograph.
        ChestxError: the target cannot be written.
    """
    if target.suffix.lower() != ".png":
        raise UsageError(f"{str(target)!r}: expected a name that ends in .png")
    if os.path.lexists(target):
        if not overwrite:
            raise UsageError(f"{str(target)!r} is there already; give --overwrite to replace it")
        if target.exists() and source.exists() and target.samefile(source):
            raise UsageError(f"{str(target)!r} is the source itself; name another file")
    radiograph = read_radiograph(source)
    try:
        with write_whole(target) as file:
            file.write(cv2.imencode(".png", radiograph.pixels)[1].tobytes())
    except OSError as error:
        raise ChestxError(f"{str(target)!r} cannot be written: {error.strerror}") from error
    return radiograph.header
