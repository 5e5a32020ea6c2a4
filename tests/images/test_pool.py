"""Many images in order, and no child process left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chestx.domain import InputSpec, Limits, UsageError
from chestx.images.pool import prepare_images
from chestx.images.preparation import Preparation, PreparationError, PreparedImage
from chestx.images.worker import WorkerLimits

PREPARATION = Preparation(input=InputSpec(size=64), preview_size=128, limits=Limits())


def list_children() -> set[int]:
    """Child processes of this one that are there, dead and not reaped ones too."""
    children = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            children.add(int(folder.name))
    return children


@pytest.fixture
def paths(samples: Path) -> list[str]:
    return [str(path) for path in sorted(samples.iterdir()) if path.suffix != ".md"]


@pytest.mark.parametrize("workers", [0, 2])
def test_images_come_in_the_order_of_their_paths(paths: list[str], workers: int) -> None:
    before = list_children()
    paths = [*paths, "/no/such/file.png"]
    images = list(prepare_images(paths, PREPARATION, workers=workers))
    alone = list(prepare_images(paths, PREPARATION, workers=0))
    assert len(images) == len(paths)
    for image, expected in zip(images, alone, strict=True):
        if isinstance(expected, PreparationError):
            assert isinstance(image, PreparationError)
            assert str(image) == str(expected)
        else:
            assert isinstance(image, PreparedImage)
            assert np.array_equal(image.pixels, expected.pixels)
            assert image.sha256 == expected.sha256
    assert isinstance(images[-1], PreparationError)
    assert list_children() == before


def test_paths_are_taken_as_they_are_needed(paths: list[str]) -> None:
    taken = []

    def give() -> Iterator[str]:
        while True:
            taken.append(paths[0])
            yield paths[0]

    images = prepare_images(give(), PREPARATION, workers=1)
    for _ in range(3):
        next(images)
    images.close()
    assert len(taken) < 10


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_no_child_is_left_when_the_caller_is_interrupted(
    paths: list[str], error: type[BaseException]
) -> None:
    before = list_children()
    images = prepare_images(paths, PREPARATION, workers=2)
    next(images)
    assert len(list_children() - before) in (1, 2)
    with pytest.raises(error):
        images.throw(error())
    assert list_children() == before


def test_no_child_is_left_when_the_paths_raise(paths: list[str]) -> None:
    before = list_children()

    def give() -> Iterator[str]:
        yield paths[0]
        raise OSError("the list ended badly")

    with pytest.raises(OSError, match="ended badly"):
        list(prepare_images(give(), PREPARATION, workers=1))
    assert list_children() == before


def test_a_file_in_work_does_not_delay_the_end(paths: list[str], tmp_path: Path) -> None:
    images = prepare_images([paths[0]] * 200, PREPARATION, workers=1)
    next(images)
    start = time.monotonic()
    images.close()
    assert time.monotonic() - start < 5


def test_one_file_may_use_up_its_time_alone(paths: list[str]) -> None:
    limits = WorkerLimits(timeout_s=0.0005)
    images = list(prepare_images(paths[:2], PREPARATION, workers=1, worker_limits=limits))
    assert [type(image) for image in images] == [PreparationError, PreparationError]
    assert "got one that takes longer" in str(images[0])


@pytest.mark.parametrize("workers", [-1, 257])
def test_an_impossible_number_of_workers_is_refused(workers: int) -> None:
    with pytest.raises(UsageError, match=f"workers: expected 0 to 256, got {workers}"):
        prepare_images([], PREPARATION, workers=workers)
