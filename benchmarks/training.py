"""What the training loop costs beyond the plainest one that one could write.

python benchmarks/training.py [STEPS] [BACKBONE] [SIZE] [BATCH]

Both loops train the same network on the same arrays in single precision on one thread.
The plain loop: batch from memory, forward, cross-entropy, backward, step, and nothing else.
Ours: augmented images from a loader thread, schedule, check for NaN, progress, as `chestx
train` runs it. The loops take turns, five rounds each; the figures are the ratios of
the medians a step: of processor time in the thread that trains, which other work on the
machine hardly touches, and of wall time, which needs a quiet core for the loader thread.
Then how many images a second one loader thread makes.
Targets: at most 1.1 times the plain loop, and more images made than are used.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from chestx.datasets.example import Task
from chestx.learning.backbones import Network, build_network
from chestx.learning.config import TrainConfig
from chestx.learning.dataset import LabelledImages, iterate_batches
from chestx.learning.training import make_fabric, train

ROUNDS = 5
LABELS = ("NORMAL", "PNEUMONIA")


def make_images(count: int, size: int) -> LabelledImages:
    """Noise with labels; what is in an image costs nothing."""
    generator = np.random.default_rng(0)
    kinds = np.arange(count) % 2
    return LabelledImages(
        labels=LABELS,
        task=Task.SINGLE_LABEL,
        pixels=generator.integers(0, 256, (count, size, size), dtype=np.uint8),
        targets=np.eye(2, dtype=np.int8)[kinds],
        sources=np.zeros(count, dtype=np.int64),
        source_names=("here",),
        groups=np.arange(count),
        paths=tuple(str(number) for number in range(count)),
        unreadable={},
        kinds=kinds,
    )


Clocks = tuple[float, float]


def read_clocks() -> Clocks:
    """Seconds of the processor in this thread, and of the wall."""
    return time.thread_time(), time.perf_counter()


def time_plain(network: Network, images: LabelledImages, steps: int, batch: int) -> list[Clocks]:
    """The clocks after each step."""
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    stamps = []
    for step in range(steps):
        rows = slice(step * batch, (step + 1) * batch)
        pixels = torch.from_numpy(images.pixels[rows])[:, None]
        labels = torch.from_numpy(images.kinds[rows])
        loss = functional.cross_entropy(network(pixels).logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        stamps.append(read_clocks())
    return stamps


def time_ours(network: Network, images: LabelledImages, config: TrainConfig) -> list[Clocks]:
    """The clocks after each step."""
    stamps: list[Clocks] = []
    with tempfile.TemporaryDirectory() as run:
        train(
            network,
            images,
            make_images(8, config.size),
            config=config,
            run=Path(run),
            fabric=make_fabric(config),
            on_step=lambda report: stamps.append(read_clocks()),
        )
    return stamps


def main(steps: int, backbone: str, size: int, batch: int) -> None:
    """Prints a line a figure."""
    images = make_images(steps * batch, size)
    config = TrainConfig(
        manifest="",
        backbone=backbone,
        size=size,
        batch_size=batch,
        epochs=1,
        threads=1,
        augment_rotation_degrees=10,
        augment_gamma=0.4,
        augment_noise=5,
        augment_jpeg=0.4,
        augment_equalise=0.3,
    )
    torch.set_num_threads(1)
    plain, ours = [], []
    for _ in range(ROUNDS):
        network = build_network(backbone, labels=2)
        plain.append(np.diff(time_plain(network, images, steps, batch), axis=0))
        ours.append(np.diff(time_ours(build_network(backbone, labels=2), images, config), axis=0))
    medians = [np.median(np.concatenate(rounds), axis=0) for rounds in (plain, ours)]
    for name, before, after in zip(("processor", "wall"), *medians, strict=True):
        print(
            f"{backbone}, {size} pixels, {batch} a step, fp32, 1 thread, "
            f"n={ROUNDS * (steps - 1)}, {name} time a step: "
            f"plain {before:.4f} s, ours {after:.4f} s, {after / before:.3f} times (target 1.1)"
        )
    start = time.perf_counter()
    for made in iterate_batches(images, config, epoch=0):
        del made
    speed = len(images) / (time.perf_counter() - start)
    print(
        f"one loader thread makes {speed:.0f} images/s, training uses {batch / medians[1][1]:.0f}"
    )


if __name__ == "__main__":
    numbers = sys.argv[1:]
    main(
        int(numbers[0]) if numbers else 20,
        numbers[1] if len(numbers) > 1 else "resnet18",
        int(numbers[2]) if len(numbers) > 2 else 112,
        int(numbers[3]) if len(numbers) > 3 else 16,
    )
