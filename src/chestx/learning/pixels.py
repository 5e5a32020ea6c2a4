"""Preprocessed images on disk: every file is read once, not once a pass."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from chestx import __version__
from chestx.domain import InputSpec, Limits, UsageError
from chestx.files import write_text, write_whole
from chestx.images.pool import prepare_images
from chestx.images.preparation import Preparation, PreparationError
from chestx.shapes import UInt8


def load_pixels(
    paths: Sequence[str],
    spec: InputSpec,
    cache: Path,
    workers: int | None,
    on_image: Callable[[], None] | None,
) -> tuple[UInt8[np.ndarray, "images size size"], dict[str, str]]:
    """Model inputs of these files, and path -> why one of them could not be read.

    From the cache where it holds exactly these files, else from the files.

    Args:
        paths: of the images.
        spec: preprocessing.
        cache: folder where arrays are kept.
        workers: child processes that read; None for one a core.
        on_image: is called after each image that had to be read.

    Raises:
        UsageError: the array in the cache is damaged.
    """
    key = _name_cache(paths, spec)
    array, failures = cache / f"{key}.npy", cache / f"{key}.json"
    if not (array.is_file() and failures.is_file()):
        cache.mkdir(parents=True, exist_ok=True)
        _fill_cache(paths, spec, array, failures, workers, on_image)
    try:
        left_out: dict[str, str] = json.loads(failures.read_text(encoding="utf-8"))
        pixels = np.load(array, mmap_mode="r", allow_pickle=False)
        # A file may be named twice.
        readable = sum(path not in left_out for path in paths)
        if pixels.shape != (readable, spec.size, spec.size):
            raise ValueError("of another shape")
    except ValueError as error:
        raise UsageError(
            f"{str(array)!r}: expected preprocessed images, got a damaged file; "
            "delete it, and it is made anew"
        ) from error
    return pixels, left_out


def _name_cache(paths: Sequence[str], spec: InputSpec) -> str:
    """By path, size and time of every file: an image that was replaced is read again.

    And by our version, since another one may prepare images in another way.
    """
    digest = hashlib.sha256(json.dumps([__version__, asdict(spec)]).encode())
    for path in paths:
        try:
            status = os.stat(path)
            stamp = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            stamp = "missing"
        digest.update(f"{path}\0{stamp}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _fill_cache(
    paths: Sequence[str],
    spec: InputSpec,
    array: Path,
    failures: Path,
    workers: int | None,
    on_image: Callable[[], None] | None,
) -> None:
    preparation = Preparation(input=spec, preview_size=0, limits=Limits())
    draft = array.with_suffix(f".{os.getpid()}.part")
    failed: dict[str, str] = {}
    done = 0
    pixels = np.lib.format.open_memmap(
        draft, mode="w+", dtype=np.uint8, shape=(len(paths), spec.size, spec.size)
    )
    try:
        images = prepare_images(paths, preparation, workers=workers)
        for path, image in zip(paths, images, strict=True):
            if isinstance(image, PreparationError):
                failed[path] = str(image)
            else:
                pixels[done] = image.pixels
                done += 1
            if on_image is not None:
                on_image()
        pixels.flush()
        del pixels
        if failed:
            whole = np.load(draft, mmap_mode="r", allow_pickle=False)
            with write_whole(array) as file:
                np.save(file, whole[:done], allow_pickle=False)
        else:
            draft.replace(array)
    finally:
        draft.unlink(missing_ok=True)
    # Written last: where it is, the array is whole.
    write_text(failures, json.dumps(failed))
