"""Images that show the same picture: byte for byte, pixel for pixel, or as a changed copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from chestx.datasets.fingerprints import PREPARATION, Fingerprint
from chestx.datasets.keypoints import Keypoints, count_common_details, describe_details
from chestx.datasets.likeness import Candidate, find_candidates
from chestx.images.pool import prepare_images
from chestx.images.preparation import PreparedImage

SAME_DETAILS = 60
"""Common details from which two files are copies, or (some under 100) one patient taken twice."""

ALIKE_DETAILS = 30
"""Common details from which two images may be of one patient; some strangers reach it."""

CHUNK = 1500
"""Images whose details are held at once."""


class Likeness(StrEnum):
    """How two files are the same, the surest first."""

    SAME_FILE = "same file"
    SAME_PIXELS = "same pixels"
    SAME_IMAGE = "changed copy, or taken again of the same patient"
    ALIKE = "possibly the same patient"

    @property
    def is_duplicate(self) -> bool:
        """Whether both show one image, or the same patient in the same position."""
        return self is not Likeness.ALIKE


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files that show the same, or nearly.

    Attributes:
        first, second: positions in the table, the smaller first.
        likeness: how they are the same.
        details: common details; 0 where the pixels already settle it.
        correlation: of the aligned thumbnails; 1 where the pixels already settle it.
        change: what was done to the second, as far as it is known: mirrored, turned.
    """

    first: int
    second: int
    likeness: Likeness
    details: int = 0
    correlation: float = 1.0
    change: str = ""


def find_duplicates(
    prints: Mapping[int, Fingerprint], paths: Sequence[str], *, workers: int | None = None
) -> list[Pair]:
    """All pairs, the surest kind first.

    Of several files with the same pixels the first stands for all: each other one is
    paired with it, and it alone is compared with other images.

    Args:
        prints: position -> fingerprint of what could be read.
        paths: of all files; those of candidates are read again.
        workers: child processes that read.
    """
    exact, kept = _find_exact(prints)
    shown = [position for position in kept if "blank" not in prints[position].reasons]
    thumbnails = [_show_upright(prints[position]) for position in shown]
    candidates = [
        Candidate(shown[found.first], shown[found.second], found.is_mirrored, found.turns,
                  found.correlation)
        for found in find_candidates(thumbnails)
    ]  # fmt: skip
    near = [pair for pair in _confirm(candidates, prints, paths, workers) if pair is not None]
    order = list(Likeness)
    return sorted(
        [*exact, *near],
        key=lambda pair: (order.index(pair.likeness), -pair.details, pair.first, pair.second),
    )


def _find_exact(prints: Mapping[int, Fingerprint]) -> tuple[list[Pair], list[int]]:
    pairs: list[Pair] = []
    seen: dict[bytes, int] = {}
    for position, print_ in prints.items():
        first = seen.setdefault(print_.pixel_digest, position)
        if first != position:
            same = print_.sha256 == prints[first].sha256
            kind = Likeness.SAME_FILE if same else Likeness.SAME_PIXELS
            pairs.append(Pair(first, position, kind))
    return pairs, list(seen.values())


def _show_upright(print_: Fingerprint) -> np.ndarray:
    """The thumbnail, as a positive where the image looks inverted."""
    return 255 - print_.thumbnail if "inverted" in print_.reasons else print_.thumbnail


def _confirm(
    candidates: Sequence[Candidate],
    prints: Mapping[int, Fingerprint],
    paths: Sequence[str],
    workers: int | None,
) -> Iterator[Pair | None]:
    for chunk in _cut_chunks(candidates):
        wanted = {(found.first, False) for found in chunk}
        wanted |= {(found.second, found.is_mirrored) for found in chunk}
        details = _describe_images(wanted, prints, paths, workers)
        for found in chunk:
            one = details.get((found.first, False))
            other = details.get((found.second, found.is_mirrored))
            if one is not None and other is not None:
                yield _judge(found, count_common_details(one, other))


def _cut_chunks(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Runs of candidates among a bounded number of images."""
    chunk: list[Candidate] = []
    images: set[int] = set()
    for found in candidates:
        if len(images) >= CHUNK:
            yield chunk
            chunk, images = [], set()
        chunk.append(found)
        images |= {found.first, found.second}
    if chunk:
        yield chunk


def _describe_images(
    wanted: set[tuple[int, bool]],
    prints: Mapping[int, Fingerprint],
    paths: Sequence[str],
    workers: int | None,
) -> dict[tuple[int, bool], Keypoints]:
    positions = sorted({position for position, _ in wanted})
    details = {}
    files = [paths[position] for position in positions]
    with closing(prepare_images(files, PREPARATION, workers=workers)) as images:
        for position, image in zip(positions, images, strict=True):
            if not isinstance(image, PreparedImage) or image.preview is None:
                continue
            inverted = "inverted" in prints[position].reasons
            preview = 255 - image.preview if inverted else image.preview
            for mirrored in (False, True):
                if (position, mirrored) in wanted:
                    shown = np.ascontiguousarray(preview[:, ::-1]) if mirrored else preview
                    details[position, mirrored] = describe_details(shown)
    return details


def _judge(found: Candidate, details: int) -> Pair | None:
    if details < ALIKE_DETAILS:
        return None
    kind = Likeness.SAME_IMAGE if details >= SAME_DETAILS else Likeness.ALIKE
    first, second, turns = found.first, found.second, found.turns
    if first > second:
        first, second = second, first
        # A mirrored copy is turned back by the same turn, any other by the opposite one.
        turns = turns if found.is_mirrored else -turns % 4
    changes = ["mirrored"] * found.is_mirrored + [f"turned by {turns * 90}°"] * bool(turns)
    return Pair(
        first,
        second,
        kind,
        details=details,
        correlation=found.correlation,
        change=", ".join(changes),
    )
