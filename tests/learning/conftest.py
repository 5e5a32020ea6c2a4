"""Small data sets, small networks, real training."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file
from torch import Tensor

from chestx.datasets.manifest import read_manifest
from chestx.domain import InputSpec
from chestx.learning.config import TrainConfig
from chestx.learning.dataset import LabelledImages, prepare_split
from chestx.learning.faults import explain_faults
from chestx.learning.progress import Progress
from chestx.learning.run import TrainingRun, make_network, run_training
from chestx.learning.training import BEST, make_fabric, train

WriteData = Callable[..., Path]
WriteConfig = Callable[..., Path]
Train = Callable[..., TrainingRun]
LoadImages = Callable[..., LabelledImages]
TrainLoop = Callable[..., "Trained"]

TINY: dict[str, Any] = {
    "manifest": "manifest.csv",
    "size": 32,
    "backbone": "test_resnet",
    "weights": "none",
    "epochs": 2,
    "batch_size": 8,
    "loader_threads": 0,
    "threads": 1,
    "cache": "cache",
    "learning_rate": 0.003,
}


def draw_image(sick: bool, source: int, generator: np.random.Generator) -> np.ndarray:
    """Noise; with a bright disc where sick; the source has an exposure of its own."""
    image = generator.normal(90 + 30 * source, 12, (40, 40))
    if sick:
        y, x = generator.integers(12, 28, 2)
        cv2.circle(image, (int(x), int(y)), 7, 200, -1)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def write_data(tmp_path_factory: pytest.TempPathFactory) -> WriteData:
    """Writes small PNG files and their manifest in a new folder, which it gives."""

    def write(
        *,
        train: int = 48,
        validation: int = 24,
        multi: bool = False,
        change: Callable[[list[dict[str, str]]], None] | None = None,
    ) -> Path:
        folder = tmp_path_factory.mktemp("data")
        generator = np.random.default_rng(7)
        rows: list[dict[str, str]] = []
        for number in range(train + validation):
            sick, source = bool(number % 2), number // 2 % 2
            name = f"{number:03d}.png"
            cv2.imwrite(str(folder / name), draw_image(sick, source, generator))
            row = {
                "path": name,
                "split": "train" if number < train else "validation",
                "source": f"hospital_{source}",
                "patient_id": str(number),
            }
            if multi:
                # Every fifth answer of the second label is not known.
                second = "" if number % 5 == 0 else str(number // 4 % 2)
                row |= {"MASS": str(int(sick)), "PLEURAL_EFFUSION": second}
            else:
                row["label"] = "PNEUMONIA" if sick else "NORMAL"
            rows.append(row)
        if change is not None:
            change(rows)
        with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return folder

    return write


@pytest.fixture(scope="session")
def data(write_data: WriteData) -> Path:
    """A folder of 72 images with one label each; its cache is shared."""
    return write_data()


@pytest.fixture(scope="session")
def multi_data(write_data: WriteData) -> Path:
    """The same with two labels an image, some not known."""
    return write_data(multi=True)


def write_toml(path: Path, values: dict[str, Any]) -> Path:
    """A configuration; JSON writes texts, numbers, truth and lists as TOML has them."""
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    return path


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Writes the tiny configuration with changes; the data folder is named absolutely."""

    def write(data: Path, name: str = "config.toml", **changes: Any) -> Path:
        values = {**TINY, "manifest": str(data / "manifest.csv"), "cache": str(data / "cache")}
        return write_toml(tmp_path / name, {**values, **changes})

    return write


@pytest.fixture
def train_tiny(tmp_path: Path, write_config: WriteConfig) -> Train:
    """Trains the tiny configuration with changes, in a new folder unless one is named."""
    runs = 0

    def train(data: Path, *, run: Path | None = None, resume: bool = False, **changes: Any) -> Any:
        nonlocal runs
        runs += 1
        config = write_config(data, f"config{runs}.toml", **changes)
        return run_training(config, run or tmp_path / f"run{runs}", resume=resume)

    return train


@pytest.fixture(scope="session")
def load_images() -> LoadImages:
    """The images of one split of a data folder."""

    def load(folder: Path, split: str = "train", *, labels: Sequence[str] = ()) -> LabelledImages:
        table = read_manifest(folder / "manifest.csv", labels=list(labels) or None)
        return prepare_split(
            table.manifest, split, spec=InputSpec(size=32), cache=folder / "cache", workers=0
        )

    return load


@dataclass(frozen=True)
class Trained:
    """What the loop gave."""

    progress: Progress
    weights: dict[str, Tensor]
    folder: Path

    @property
    def losses(self) -> list[float]:
        """Of training, an epoch each."""
        return [epoch.train_loss for epoch in self.progress.history]


@pytest.fixture(scope="session")
def train_loop(load_images: LoadImages, tmp_path_factory: pytest.TempPathFactory) -> TrainLoop:
    """Runs the loop alone, without pages and records, on a data folder."""

    load = functools.cache(load_images)

    def run(folder: Path, **changes: Any) -> Trained:
        config = TrainConfig(**{**TINY, **changes})
        images, validation = load(folder, "train"), load(folder, "validation")
        out = tmp_path_factory.mktemp("loop")
        network, _ = make_network(config, images, base=folder)
        with explain_faults(config):
            progress = train(
                network,
                images,
                validation,
                config=config,
                run=out,
                fabric=make_fabric(config),
            )
        return Trained(progress, load_file(out / BEST), out)

    return run


@pytest.fixture(scope="session")
def make_config() -> Callable[..., TrainConfig]:
    """The tiny configuration with changes, without a file."""

    def make(**changes: Any) -> TrainConfig:
        return TrainConfig(**{**TINY, **changes})

    return make
