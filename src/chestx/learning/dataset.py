"""Labelled images as arrays, and the order in which a pass draws them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.groups import group_examples
from chestx.domain import InputSpec, UsageError
from chestx.learning.augmentation import augment, mix_pair, take_style, take_surroundings
from chestx.learning.config import TrainConfig
from chestx.learning.pixels import load_pixels
from chestx.shapes import Float, Int, Int8, UInt8

_AHEAD = 2
"""Batches that each thread may be ahead of the step."""

_MOST_STYLE = 0.7
"""Largest share of another image's amplitudes; with nearly all of them no anatomy is left."""

MAX_UNREADABLE = 0.01
"""Share of the images that may be unreadable; with more, something else is wrong."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LabelledImages:
    """Images of one split, preprocessed.

    Attributes:
        labels: of the model, in order.
        task: one label an image, or several.
        pixels: model inputs; a file on disk that is mapped into memory.
        targets: values of Target.
        sources: number of each image's source in ``source_names``.
        groups: number of each image's patient or duplicate group.
        paths: as in the manifest.
        unreadable: path -> why an image was left out; the path as it was read.
        kinds: number of what each image shows: its label; of several labels the rarest that is
            present, or, where none is, one number more.
        unlabelled: model inputs of another place, to which the features are brought.
    """

    labels: tuple[str, ...]
    task: Task
    pixels: UInt8[np.ndarray, "images size size"]
    targets: Int8[np.ndarray, "images labels"]
    sources: Int[np.ndarray, " images"]
    source_names: tuple[str, ...]
    groups: Int[np.ndarray, " images"]
    paths: tuple[str, ...]
    unreadable: dict[str, str]
    kinds: Int[np.ndarray, " images"]
    unlabelled: UInt8[np.ndarray, "others size size"] | None = None

    @property
    def kind_count(self) -> int:
        """How many numbers a kind can have."""
        return len(self.labels) + (self.task is Task.MULTI_LABEL)

    def __len__(self) -> int:
        return len(self.paths)


def prepare_split(
    manifest: Manifest,
    split: str,
    *,
    spec: InputSpec,
    cache: Path,
    workers: int | None = None,
    on_image: Callable[[], None] | None = None,
) -> LabelledImages:
    """Reads the images of a split once, on the same road as every other part takes.

    Args:
        manifest: of the labelled images.
        split: value of its ``split``.
        spec: preprocessing.
        cache: folder where the arrays are kept for the next run on the same files.
        workers: child processes that read.
        on_image: is called after each image that had to be read.

    Raises:
        UsageError: no image of this split, a label without one, or too many unreadable.
    """
    groups = group_examples(manifest)
    positions = [
        position
        for position, example in enumerate(manifest.examples)
        if example.split == split and _has_answer(example, manifest.task)
    ]
    if not positions:
        present = sorted({example.split or "(empty)" for example in manifest.examples})
        raise UsageError(
            f"split {split!r}: expected labelled images, got none; "
            f"the manifest has the splits {', '.join(present)}"
        )
    examples = [manifest.examples[position] for position in positions]
    paths = [manifest.resolve(example) for example in examples]
    pixels, failures = load_pixels(paths, spec, cache, workers, on_image)
    kept = [index for index, path in enumerate(paths) if path not in failures]
    check_readable(failures, len(paths), split)
    names = sorted({example.source for example in manifest.examples})
    targets = manifest.targets[positions][kept]
    _check_labels(targets, manifest, split)
    return LabelledImages(
        labels=manifest.labels,
        task=manifest.task,
        pixels=pixels,
        targets=targets,
        sources=np.array([names.index(examples[index].source) for index in kept]),
        source_names=tuple(names),
        groups=np.asarray(groups)[positions][kept],
        paths=tuple(examples[index].path for index in kept),
        unreadable=failures,
        kinds=number_kinds(targets, manifest.task),
    )


def check_readable(failures: Mapping[str, str], images: int, split: str) -> None:
    """Holds what could not be read of a split against MAX_UNREADABLE.

    Args:
        failures: path -> why it could not be read.
        images: how many the split has.
        split: its name.

    Raises:
        UsageError: they are too many.
    """
    if len(failures) > MAX_UNREADABLE * images:
        first, reason = next(iter(failures.items()))
        raise UsageError(
            f"split {split}: expected at most {MAX_UNREADABLE:.0%} unreadable images, got "
            f"{len(failures)} of {images}, the first {first!r}: {reason}; see chestx data audit"
        )


def number_kinds(
    targets: Int8[np.ndarray, "images labels"], task: Task
) -> Int[np.ndarray, " images"]:
    """One number for what an image shows; see :class:`LabelledImages`."""
    present = targets == Target.PRESENT
    if task is Task.SINGLE_LABEL:
        return np.asarray(present.argmax(axis=1))
    # Of each image the present label that the fewest images have.
    rarity = np.where(present, present.sum(axis=0), len(targets) + 1)
    kinds = np.where(present.any(axis=1), rarity.argmin(axis=1), targets.shape[1])
    return np.asarray(kinds)


def _has_answer(example: Example, task: Task) -> bool:
    """Of one label, exactly one must be there; of several, any that is known will do."""
    if task is Task.SINGLE_LABEL:
        return Target.PRESENT in example.targets
    return any(target.is_known for target in example.targets)


def _check_labels(
    targets: Int8[np.ndarray, "images labels"], manifest: Manifest, split: str
) -> None:
    for index, label in enumerate(manifest.labels):
        column = targets[:, index]
        for value, word in ((Target.PRESENT, "with"), (Target.ABSENT, "without")):
            if not (column == value).any():
                raise UsageError(
                    f"split {split}: expected images with and without {label}, got none {word} it; "
                    "leave the label out or split the manifest anew"
                )


def weigh_images(images: LabelledImages, balance: str) -> Float[np.ndarray, " images"]:
    """How often each image is drawn, relative to the others; the weights sum to one.

    ``label`` draws every kind of image alike (see :class:`LabelledImages`).
    ``label_and_source`` draws every kind within each source alike, and the sources by the
    square root of their size: a source of one hospital must not be told by its label, and a
    small collection must not be drawn to death.
    """
    if balance == "none":
        weights = np.ones(len(images))
    elif balance == "label":
        weights = 1 / _count_own(images.kinds)
    elif balance == "source":
        weights = 1 / _count_own(images.sources)
    else:
        cell = images.sources * images.kind_count + images.kinds
        cells = {source: len(set(cell[images.sources == source])) for source in images.sources}
        in_source = np.array([cells[source] for source in images.sources])
        weights = np.sqrt(_count_own(images.sources)) / (_count_own(cell) * in_source)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _count_own(numbers: Int[np.ndarray, " images"]) -> Int[np.ndarray, " images"]:
    """For each image, how many have its number."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse])


def draw_epoch(
    images: LabelledImages, config: TrainConfig, epoch: int
) -> Int[np.ndarray, " draws"]:
    """The images of one pass in order; it follows from the seed and the number of the pass."""
    generator = np.random.default_rng([config.seed, epoch])
    draws = config.images_per_epoch or len(images)
    if config.balance == "none":
        rounds = [generator.permutation(len(images)) for _ in range(-(-draws // len(images)))]
        return np.concatenate(rounds)[:draws]
    weights = weigh_images(images, config.balance)
    return np.asarray(generator.choice(len(images), size=draws, p=weights))


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        pixels: ``uint8 [batch, 1, size, size]``.
        targets: ``[batch, labels]``, 0 to 1.
        known: ``[batch, labels]``, 1 where the target is an answer.
        sources, kinds: ``[batch]``, numbers; of a mixture, of the image that shows most.
        unlabelled: ``uint8 [batch, 1, size, size]`` of another place, or none of them.
    """

    pixels: Tensor
    targets: Tensor
    known: Tensor
    sources: Tensor
    kinds: Tensor
    unlabelled: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """In the order of the attributes."""
        return (
            self.pixels,
            self.targets,
            self.known,
            self.sources,
            self.kinds,
            self.unlabelled,
        )

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self.parts))


_Item = tuple[np.ndarray, np.ndarray, np.ndarray, int, int, np.ndarray]


class _Changed:
    """Images drawn at the places of a pass; a change follows from seed, pass and place."""

    def __init__(self, images: LabelledImages, config: TrainConfig, epoch: int) -> None:
        self._images, self._config, self._epoch = images, config, epoch
        self._draws = draw_epoch(images, config, epoch)
        present = np.unique(images.sources)
        self._of_source = {int(s): np.flatnonzero(images.sources == s) for s in present}

    def make(self, place: int) -> _Item:
        """The image at a place, changed; may be called from several threads."""
        config, images = self._config, self._images
        generator = np.random.default_rng([config.seed, self._epoch, place])
        shown = index = int(self._draws[place])
        pixels, target, known = self._change(index, generator)
        if config.augment_mixup:
            share = float(generator.beta(config.augment_mixup, config.augment_mixup))
            other = int(self._draws[generator.integers(len(self._draws))])
            second, second_target, second_known = self._change(other, generator)
            pixels = mix_pair(pixels, second, share=share)
            target = share * target + (1 - share) * second_target
            known = known * second_known
            shown = index if share >= 0.5 else other
        source, kind = int(images.sources[shown]), int(images.kinds[shown])
        other_place = self._draw_unlabelled(generator)
        return pixels[None], target.astype(np.float32), known, source, kind, other_place

    def _draw_unlabelled(self, generator: np.random.Generator) -> np.ndarray:
        """An image of the other place, changed alike; of no pixels where there is none."""
        images = self._images.unlabelled
        if images is None:
            return np.zeros((0, 0, 0), dtype=np.uint8)
        pixels = np.array(images[generator.integers(len(images))])
        return augment(pixels, self._config, generator=generator)[None]

    def _change(
        self, index: int, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pixels = np.array(self._images.pixels[index])
        source = int(self._images.sources[index])
        if self._config.augment_style and generator.random() < self._config.augment_style:
            other = self._draw_of_other_source(source, generator)
            if other is not None:
                share = float(generator.uniform(0, _MOST_STYLE))
                pixels = take_style(pixels, other, share=share)
        chance = self._config.augment_surroundings
        if chance and generator.random() < chance:
            other = self._draw_of_other_source(source, generator)
            if other is not None:
                pixels = take_surroundings(pixels, other, generator=generator)
        pixels = augment(pixels, self._config, generator=generator)
        row = self._images.targets[index]
        return pixels, (row == Target.PRESENT).astype(np.float32), (row >= 0).astype(np.float32)

    def _draw_of_other_source(
        self, source: int, generator: np.random.Generator
    ) -> np.ndarray | None:
        """An image of another source, each source as likely as the next; None without any."""
        others = [positions for other, positions in self._of_source.items() if other != source]
        if not others:
            return None
        positions = others[int(generator.integers(len(others)))]
        return np.array(self._images.pixels[generator.choice(positions)])


def iterate_batches(
    images: LabelledImages,
    config: TrainConfig,
    *,
    epoch: int,
    first_step: int = 0,
    rank: int = 0,
    processes: int = 1,
) -> Iterator[Batch]:
    """The steps of one pass, from one of them on; a part that fills no move is left out.

    Process ``r`` of ``p`` takes at step ``s`` the images at the places from
    ``(s * p + r) * batch_size`` on. One process alone takes them as steps ``s * p`` to
    ``s * p + p - 1``: with ``accumulation = p`` it learns from the same images at each move.

    Args:
        images: of the training split.
        config: of the run.
        epoch: number of the pass.
        first_step: steps of this pass that were done before.
        rank, processes: which share of every step this process takes.
    """
    changed = _Changed(images, config, epoch)
    size = config.batch_size
    starts = [
        (step * processes + rank) * size
        for step in range(first_step, count_steps(images, config, processes=processes))
    ]
    is_pinned = config.accelerator != "cpu" and torch.cuda.is_available()

    def load(start: int) -> Batch:
        parts = default_collate([changed.make(place) for place in range(start, start + size)])
        return Batch(*(part.pin_memory() if is_pinned else part for part in parts))

    yield from _load_ahead(load, starts, threads=config.loader_threads)


def _load_ahead(
    load: Callable[[int], Batch], starts: Sequence[int], *, threads: int
) -> Iterator[Batch]:
    """Batches in order, some of them made while the step before is computed.

    By threads: the work is done in libraries that let other threads run, and a child forked
    from a program whose libraries hold threads of their own may wait for them for ever.
    """
    if not threads:
        yield from map(load, starts)
        return
    waiting: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="chestx-load")
    try:
        for start in starts:
            waiting.append(pool.submit(load, start))
            if len(waiting) > _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def count_steps(images: LabelledImages, config: TrainConfig, *, processes: int = 1) -> int:
    """Steps of one pass; the weights move a whole number of times.

    Raises:
        UsageError: the images do not fill one move of the weights.
    """
    draws = config.images_per_epoch or len(images)
    moves = draws // (config.batch_size * processes * config.accumulation)
    if not moves:
        raise UsageError(
            f"batch_size: expected batch_size x accumulation x processes of at most {draws}, the "
            f"images of a pass, got {config.batch_size} x {config.accumulation} x {processes}"
        )
    return moves * config.accumulation
