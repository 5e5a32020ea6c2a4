"""Images as arrays, and which of them a step of a process takes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chestx.domain import InputSpec, UsageError
from chestx.evaluation.alterations import LUNGS
from chestx.learning.augmentation import take_surroundings
from chestx.learning.dataset import (
    count_steps,
    draw_epoch,
    iterate_batches,
    number_kinds,
    weigh_images,
)
from chestx.learning.pixels import load_pixels

pytestmark = pytest.mark.torch

Load = Callable[..., Any]
MakeConfig = Callable[..., Any]


def read_grey(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def test_pixels_are_those_of_the_files(data: Path, load_images: Load) -> None:
    images = load_images(data)
    assert images.pixels.shape == (48, 32, 32)
    assert images.paths[:2] == ("000.png", "001.png")
    assert images.targets[:2].tolist() == [[1, 0], [0, 1]]
    assert images.source_names == ("hospital_0", "hospital_1")
    original = read_grey(data / "003.png")
    assert abs(float(images.pixels[3].mean()) - float(original.mean())) < 3


def test_the_cache_is_used_until_a_file_changes(write_data: Load, load_images: Load) -> None:
    folder = write_data(train=8, validation=8)
    first = load_images(folder)
    [array] = (folder / "cache").glob("*.npy")
    stamp = array.stat().st_mtime_ns
    load_images(folder)
    assert [path.stat().st_mtime_ns for path in (folder / "cache").glob("*.npy")] == [stamp]
    cv2.imwrite(str(folder / "000.png"), np.zeros((40, 40), dtype=np.uint8))
    os.utime(folder / "000.png", ns=(stamp + 10**9, stamp + 10**9))
    changed = load_images(folder)
    assert not changed.pixels[0].any()
    assert first.pixels[0].any()


def test_a_damaged_cache_is_refused(write_data: Load, load_images: Load) -> None:
    folder = write_data(train=8, validation=8)
    load_images(folder)
    [array] = (folder / "cache").glob("*.npy")
    array.write_bytes(array.read_bytes()[:200])
    with pytest.raises(UsageError, match="damaged file; delete it, and it is made anew"):
        load_images(folder)
    array.unlink()
    assert len(load_images(folder)) == 8


def test_few_unreadable_images_are_left_out(
    write_data: Load, load_images: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chestx.learning.dataset.MAX_UNREADABLE", 0.1)
    folder = write_data(train=24, validation=8)
    (folder / "005.png").write_bytes(b"no picture")
    images = load_images(folder)
    assert len(images) == len(images.pixels) == len(images.kinds) == 23
    assert "005.png" not in images.paths
    assert [Path(path).name for path in images.unreadable] == ["005.png"]
    # Those that come after it are still their own.
    whole = read_grey(folder / "006.png")
    assert abs(float(images.pixels[5].mean()) - float(whole.mean())) < 3


def test_an_unreadable_file_that_is_named_twice_is_left_out_twice(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    paths = [str(tmp_path / "broken.png"), str(data / "000.png"), str(tmp_path / "broken.png")]
    pixels, failures = load_pixels(paths, InputSpec(size=32), tmp_path / "cache", 0, None)
    assert len(pixels) == 1
    assert list(failures) == paths[:1]


def test_many_unreadable_images_are_refused(write_data: Load, load_images: Load) -> None:
    folder = write_data(train=8, validation=8)
    (folder / "005.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"at most 1% unreadable images, got 1 of 8, the first"):
        load_images(folder)


def test_a_split_without_images_is_refused(data: Path, load_images: Load) -> None:
    with pytest.raises(UsageError, match=r"expected labelled images, got none; .* train, valid"):
        load_images(data, "test")


def test_a_split_of_one_class_is_refused(write_data: Load, load_images: Load) -> None:
    def make_well(rows: list[dict[str, str]]) -> None:
        for row in rows:
            if row["split"] == "validation":
                row["label"] = "NORMAL"

    folder = write_data(train=8, validation=8, change=make_well)
    assert len(load_images(folder)) == 8
    with pytest.raises(UsageError, match="with and without NORMAL, got none without it"):
        load_images(folder, "validation")


def test_a_label_that_no_image_of_a_split_has_is_refused(
    write_data: Load, load_images: Load
) -> None:
    def infect(rows: list[dict[str, str]]) -> None:
        rows[0]["label"] = "TUBERCULOSIS"

    folder = write_data(train=8, validation=8, change=infect)
    assert len(load_images(folder)) == 8
    with pytest.raises(UsageError, match="with and without TUBERCULOSIS, got none with it"):
        load_images(folder, "validation")


def test_the_kind_of_several_labels_is_the_rarest() -> None:
    from chestx.datasets.example import Task

    targets = np.array([[1, 0], [1, 1], [1, 0], [0, 0], [-1, 0]], dtype=np.int8)
    assert number_kinds(targets, Task.MULTI_LABEL).tolist() == [0, 1, 0, 2, 2]
    single = np.array([[1, 0], [0, 1]], dtype=np.int8)
    assert number_kinds(single, Task.SINGLE_LABEL).tolist() == [0, 1]


def make_uneven(images: Any) -> Any:
    """The first 30 of source 0 with label 0, then 6 with label 1, then 12 of source 1."""
    kinds = np.array([0] * 30 + [1] * 6 + [0] * 10 + [1] * 2)
    return dataclasses.replace(
        images,
        kinds=kinds,
        sources=np.array([0] * 36 + [1] * 12),
        targets=np.eye(2, dtype=np.int8)[kinds],
    )


def test_balances_draw_alike_what_they_say(data: Path, load_images: Load) -> None:
    images = make_uneven(load_images(data))
    kinds, sources = images.kinds, images.sources
    by_label = weigh_images(images, "label")
    assert by_label[kinds == 0].sum() == pytest.approx(0.5)
    by_source = weigh_images(images, "source")
    assert by_source[sources == 1].sum() == pytest.approx(0.5)
    both = weigh_images(images, "label_and_source")
    assert both.sum() == pytest.approx(1)
    for source in (0, 1):
        inside = [both[(sources == source) & (kinds == kind)].sum() for kind in (0, 1)]
        assert inside[0] == pytest.approx(inside[1])
    shares = [both[sources == source].sum() for source in (0, 1)]
    assert shares[0] / shares[1] == pytest.approx((36 / 12) ** 0.5)
    assert set(weigh_images(images, "none")) == {1 / 48}


def test_a_pass_draws_every_image_once(
    data: Path, load_images: Load, make_config: MakeConfig
) -> None:
    images, config = load_images(data), make_config()
    first = draw_epoch(images, config, 0)
    assert sorted(first) == list(range(48))
    assert not np.array_equal(first, draw_epoch(images, config, 1))
    assert np.array_equal(first, draw_epoch(images, config, 0))
    longer = draw_epoch(images, make_config(images_per_epoch=100), 0)
    assert len(longer) == 100
    assert np.bincount(longer).min() == 2


CHANGED = {"augment_noise": 20.0, "augment_rotation_degrees": 10.0}


def read_all(images: Any, config: Any, **options: int) -> list[Any]:
    return list(iterate_batches(images, config, epoch=1, **options))


def test_two_processes_take_what_one_takes_in_two_steps(
    data: Path, load_images: Load, make_config: MakeConfig
) -> None:
    images, config = load_images(data), make_config(batch_size=6, **CHANGED)
    alone = read_all(images, config)
    shared = [read_all(images, config, rank=rank, processes=2) for rank in (0, 1)]
    assert len(alone) == 8
    assert len(shared[0]) == len(shared[1]) == 4
    for step, batch in enumerate(alone):
        assert batch.pixels.equal(shared[step % 2][step // 2].pixels)
        assert batch.targets.equal(shared[step % 2][step // 2].targets)


def test_a_pass_goes_on_where_it_was_left(
    data: Path, load_images: Load, make_config: MakeConfig
) -> None:
    images, config = load_images(data), make_config(augment_mixup=0.4, **CHANGED)
    whole = read_all(images, config)
    rest = read_all(images, config, first_step=4)
    assert len(whole) == 6
    assert len(rest) == 2
    assert all(a.pixels.equal(b.pixels) for a, b in zip(whole[4:], rest, strict=True))


def test_a_mixture_mixes_answers_and_knows_what_both_know(
    multi_data: Path, load_images: Load, make_config: MakeConfig
) -> None:
    batches = read_all(load_images(multi_data), make_config(augment_mixup=1.0))
    targets = np.concatenate([batch.targets.numpy() for batch in batches])
    known = np.concatenate([batch.known.numpy() for batch in batches])
    assert ((targets > 0) & (targets < 1)).any()
    assert set(np.unique(known)) == {0, 1}
    # A fifth of the answers is not known, so more than a third of the mixtures.
    assert 0.2 < 1 - known[:, 1].mean() < 0.55 or 0.2 < 1 - known[:, 0].mean() < 0.55


def test_the_weights_move_a_whole_number_of_times(
    data: Path, load_images: Load, make_config: MakeConfig
) -> None:
    images = load_images(data)
    assert count_steps(images, make_config(batch_size=8, accumulation=4)) == 4
    assert count_steps(images, make_config(batch_size=8, accumulation=2), processes=3) == 2
    assert count_steps(images, make_config(batch_size=8, images_per_epoch=80)) == 10
    with pytest.raises(UsageError, match="at most 48, the images of a pass, got 8 x 1 x 7"):
        count_steps(images, make_config(batch_size=8), processes=7)


def blacken_one_source(images: Any) -> Any:
    """All images of one grey; those of the second source black."""
    pixels = np.full_like(images.pixels, 200)
    pixels[images.sources == 1] = 0
    return dataclasses.replace(images, pixels=pixels)


def expect_unchanged_without_another_source(images: Any, config: Any) -> None:
    """Where all images are of one source, there is nothing to take from another."""
    alone = dataclasses.replace(images, sources=np.zeros_like(images.sources))
    for batch in iterate_batches(alone, config, epoch=0):
        assert {float(p.float().mean()) for p in batch.pixels} <= {0.0, 200.0}


def test_style_comes_from_other_sources_only(
    data: Path, load_images: Load, make_config: MakeConfig
) -> None:
    """One source is made black, and its images are the only ones that darken the other's."""
    images = blacken_one_source(load_images(data))
    config = make_config(augment_style=1.0, batch_size=8)
    seen = 0
    for batch in iterate_batches(images, config, epoch=0):
        for picture, source in zip(batch.pixels, batch.sources, strict=True):
            if int(source) == 0:
                seen += 1
                assert float(picture.float().mean()) < 200
    assert seen
    expect_unchanged_without_another_source(images, config)


def test_surroundings_come_from_other_sources_only(
    data: Path, load_images: Load, make_config: MakeConfig
) -> None:
    """One source is black: the other keeps its chest and gets black edges."""
    images = blacken_one_source(load_images(data))
    config = make_config(augment_surroundings=1.0, batch_size=8)
    seen = 0
    for batch in iterate_batches(images, config, epoch=0):
        for picture, source in zip(batch.pixels[:, 0], batch.sources, strict=True):
            size = len(picture)
            chest = picture[size // 4 : -size // 4, size // 4 : -size // 4]
            corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
            seen += int(source) == 0
            assert set(chest.flatten().tolist()) == {0 if int(source) else 200}
            assert set(corners.tolist()) == {200 if int(source) else 0}
    assert seen
    expect_unchanged_without_another_source(images, config)


@pytest.mark.parametrize("seed", range(20))
def test_the_chest_is_kept_in_other_surroundings(seed: int) -> None:
    """All of the box of the lungs but its corners, whatever the seam."""
    generator = np.random.default_rng(seed)
    mixed = take_surroundings(
        np.full((224, 224), 255, np.uint8), np.zeros((224, 224), np.uint8), generator=generator
    )
    left, right, top, bottom = (round(edge * 224) for edge in LUNGS)
    assert (mixed[top:bottom, left:right] > 127).mean() > 0.97
    assert mixed[112, left + 2 : right - 2].min() == 255
    assert mixed[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
