"""What is kept of an image, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chestx.datasets.fingerprints import (
    Fingerprint,
    Unreadable,
    measure_ring,
    shrink_thumbnail,
    take_fingerprints,
)


def test_every_file_gives_a_fingerprint_or_a_reason(samples: Path) -> None:
    seen: list[None] = []
    paths = [str(samples / "child-1-normal.jpg"), str(samples / "other-2-damaged.jpg"), "/none.png"]
    taken = take_fingerprints(paths, workers=0, on_image=lambda: seen.append(None))
    assert len(seen) == 3
    image, damaged, missing = taken
    assert isinstance(image, Fingerprint)
    assert image.file_bytes == Path(paths[0]).stat().st_size
    assert (image.header.format, image.reasons) == ("JPEG", ())
    assert isinstance(damaged, Unreadable)
    assert not damaged.is_missing
    assert isinstance(missing, Unreadable)
    assert missing.is_missing


def test_identifiers_are_compared_but_not_kept(samples: Path) -> None:
    from chestx.images.reading import read_radiograph

    path = str(samples / "adult-4-pneumonia-jpegls.dcm")
    header = read_radiograph(path).header
    first, again = take_fingerprints([path, path], workers=0)
    (other_run,) = take_fingerprints([path], workers=0)
    assert isinstance(first, Fingerprint)
    assert isinstance(again, Fingerprint)
    assert isinstance(other_run, Fingerprint)
    assert header.study_instance_uid
    assert first.header.study_instance_uid == again.header.study_instance_uid
    assert first.header.study_instance_uid != other_run.header.study_instance_uid
    for hidden in (header.patient_id, header.study_instance_uid, header.sop_instance_uid):
        assert not hidden or hidden not in repr(first.header)


def test_the_ring_is_that_of_the_border() -> None:
    preview = np.full((100, 200), 90, np.uint8)
    preview[:6] = 255
    preview[50, 100] = 0
    ring = measure_ring(preview)
    assert ring[0] == 255
    assert ring[1] == 0
    assert ring[2:4].tolist() == [90, 0]


def test_a_small_thumbnail_is_made_of_means() -> None:
    thumbnail = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64) % 251
    small = shrink_thumbnail(thumbnail.astype(np.uint8), 4)
    assert abs(float(small[1, 2]) - thumbnail[16:32, 32:48].mean()) <= 1
