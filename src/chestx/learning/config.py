"""What a training run is told: one flat table, every value with a default."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from chestx.domain import Denoise, InputSpec, UsageError

Balance = Literal["none", "label", "source", "label_and_source"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine", "one_cycle", "plateau"]
Precision = Literal["fp32", "bf16", "fp16"]
Monitor = Literal["within_source_auroc", "macro_auroc", "loss"]
Alignment = Literal["none", "coral", "adversary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run.

    A file of it is a diff against these defaults, with reasons.

    Attributes:
        manifest: the labelled images. A relative path, here and in cache and weights, counts from
            the configuration's file.
        columns, rename, labels, where: how the manifest is read, as ``chestx data`` has them;
            the labels in their order become the model's.
        train_split, validation_split: values of the manifest's ``split``.
        no_finding: label that means that nothing was found; empty for none.
        cache: folder of preprocessed images; empty for one in the run.

        size: side of the model's input in pixels.
        denoise, clahe_clip_limit, clahe_tiles: preprocessing, part of the model for good.

        backbone: a name of BACKBONES, or any classifier of timm with pooled features.
        weights: ``imagenet``, ``none``, a local checkpoint, or a folder of a chestx model.
        output_stride: 32, or 16 for maps of twice the resolution where the backbone can.
        hidden_features: width of a 1 x 1 convolution before the pooling; 0 for a linear head.
        dropout: share of the pooled features that is dropped.

        epochs: passes over the training images.
        images_per_epoch: how many images a pass draws; 0 for as many as there are.
        frozen_epochs: first passes in which only the head learns.
        freeze_norm: keep the statistics of batch normalisation as the weights bring them.
        batch_size: images of one step of one process.
        accumulation: steps whose gradients are added before the weights move.
        optimizer, learning_rate, weight_decay, momentum: of the head.
        backbone_rate: learning rate of the backbone as a share of the head's.
        schedule: course of the learning rate over the steps; ``plateau`` halves it when the
            monitored figure has not improved for ``plateau_patience`` epochs.
        warmup_share: share of the steps in which the rate rises (cosine, one_cycle).
        clip_norm: largest norm of the gradients; 0 for any.
        ema_decay: decay a step of the averaged weights that are validated and published; 0
            for none.
        label_smoothing: share of the target that is spread.
        class_weights: weight the loss by the labels' rarity.
        precision: of the computation. ``channels_last``: memory layout of the images.

        balance: how images are drawn: as they come, every label alike, every source alike,
            or every label within each source alike.
        alignment, alignment_weight: a penalty for features that tell the source: ``coral``
            (covariances of sources alike) or ``adversary`` (a source classifier that the
            features must defeat).
        unlabelled: images of another place, named as for ``chestx predict``; ``coral`` then
            brings the features of the labelled images to theirs, not sources to each other.
        group_robust: step of the weights of label-and-source groups by their loss; 0 for none.

        augment_*: ranges from which changes of each training image are drawn; 0 for none.

        monitor, patience: the validation figure that chooses the epoch, and how many epochs
            without a better one end the run; patience 0 never ends it.
        seed: of every random number. deterministic: refuse operations whose result may vary.
        threads, loader_threads: of the computation, and that make images.
        accelerator, devices, nodes: as lightning-fabric takes them.
        checkpoint_minutes: how often the run is saved within an epoch.
    """

    manifest: str
    columns: dict[str, str] = field(default_factory=dict)
    rename: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    train_split: str = "train"
    validation_split: str = "validation"
    no_finding: str = ""
    cache: str = ""

    size: int = 224
    denoise: Denoise = Denoise.NONE
    clahe_clip_limit: float = 0.0
    clahe_tiles: int = 8

    backbone: str = "efficientnet_lite0"
    weights: str = "imagenet"
    output_stride: int = 32
    hidden_features: int = 0
    dropout: float = 0.0

    epochs: int = 5
    images_per_epoch: int = 0
    frozen_epochs: int = 0
    freeze_norm: bool = False
    batch_size: int = 32
    accumulation: int = 1
    optimizer: Optimizer = "adamw"
    learning_rate: float = 1e-3
    backbone_rate: float = 1.0
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: Schedule = "one_cycle"
    warmup_share: float = 0.2
    plateau_patience: int = 2
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    label_smoothing: float = 0.0
    class_weights: bool = False
    precision: Precision = "fp32"
    channels_last: bool = True

    balance: Balance = "none"
    alignment: Alignment = "none"
    alignment_weight: float = 0.0
    unlabelled: tuple[str, ...] = ()
    group_robust: float = 0.0

    augment_rotation_degrees: float = 0.0
    augment_flip: bool = False
    augment_shift: float = 0.0
    augment_scale: float = 0.0
    augment_aspect: float = 0.0
    augment_gamma: float = 0.0
    augment_contrast: float = 0.0
    augment_brightness: float = 0.0
    augment_noise: float = 0.0
    augment_blur: float = 0.0
    augment_downsample: float = 0.0
    augment_jpeg: float = 0.0
    augment_equalise: float = 0.0
    augment_border: float = 0.0
    augment_text: float = 0.0
    augment_erase: float = 0.0
    augment_style: float = 0.0
    augment_surroundings: float = 0.0
    augment_mixup: float = 0.0

    monitor: Monitor = "within_source_auroc"
    patience: int = 0
    seed: int = 0
    deterministic: bool = True
    threads: int = 0
    loader_threads: int = 1
    accelerator: str = "cpu"
    devices: int = 1
    nodes: int = 1
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value:g}")
        if self.output_stride not in (16, 32):
            raise ValueError(f"output_stride: expected 16 or 32, got {self.output_stride}")
        if self.no_finding and self.labels and self.no_finding not in self.labels:
            raise ValueError(
                f"no_finding: expected one of the labels {', '.join(self.labels)}, "
                f"got {self.no_finding!r:.64}"
            )
        if (self.alignment == "none") != (self.alignment_weight == 0):
            raise ValueError("alignment and alignment_weight go together")
        if self.unlabelled and self.alignment != "coral":
            raise ValueError('unlabelled images go with alignment = "coral"')
        if self.augment_mixup and self.group_robust:
            raise ValueError("augment_mixup and group_robust exclude each other")
        _ = self.input  # Its own ranges.

    @property
    def input(self) -> InputSpec:
        """Preprocessing, as the model's card will have it."""
        return InputSpec(
            size=self.size,
            denoise=self.denoise,
            clahe_clip_limit=self.clahe_clip_limit,
            clahe_tiles=self.clahe_tiles,
        )


_RANGES: dict[str, tuple[float, float]] = {
    "hidden_features": (0, 8192),
    "dropout": (0, 0.95),
    "epochs": (1, 10_000),
    "images_per_epoch": (0, 100_000_000),
    "frozen_epochs": (0, 10_000),
    "batch_size": (1, 4096),
    "accumulation": (1, 1024),
    "learning_rate": (1e-8, 10),
    "backbone_rate": (0, 10),
    "weight_decay": (0, 10),
    "momentum": (0, 0.9999),
    "warmup_share": (0, 0.9),
    "plateau_patience": (0, 10_000),
    "clip_norm": (0, 1e6),
    "ema_decay": (0, 0.99999),
    "label_smoothing": (0, 0.5),
    "alignment_weight": (0, 1e4),
    "group_robust": (0, 10),
    "augment_rotation_degrees": (0, 180),
    "augment_shift": (0, 0.5),
    "augment_scale": (0, 0.9),
    "augment_aspect": (0, 0.9),
    "augment_gamma": (0, 2),
    "augment_contrast": (0, 0.95),
    "augment_brightness": (0, 0.5),
    "augment_noise": (0, 100),
    "augment_blur": (0, 10),
    "augment_downsample": (0, 1),
    "augment_jpeg": (0, 1),
    "augment_equalise": (0, 1),
    "augment_border": (0, 0.4),
    "augment_text": (0, 1),
    "augment_erase": (0, 1),
    "augment_style": (0, 1),
    "augment_surroundings": (0, 1),
    "augment_mixup": (0, 10),
    "patience": (0, 10_000),
    "seed": (0, 2**32 - 1),
    "threads": (0, 1024),
    "loader_threads": (0, 256),
    "devices": (1, 1024),
    "nodes": (1, 4096),
    "checkpoint_minutes": (0, 1440),
}

_MAX_BYTES = 1024 * 1024


def load_config(path: Path) -> TrainConfig:
    """Reads a configuration file.

    Raises:
        UsageError: it cannot be read, is no TOML, or has an unknown key or a wrong value.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{str(path)!r}: expected a configuration of at most 1 MiB")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{str(path)!r}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(path)!r}: expected TOML, got text that is not: {error}") from error
    return config_from_table(table, where=str(path))


def config_from_table(table: dict[str, Any], *, where: str) -> TrainConfig:
    """A configuration from plain values.

    Raises:
        UsageError: an unknown key, a missing one, or a value of another type or range.
    """
    hints = get_type_hints(TrainConfig)
    if unknown := sorted(table.keys() - hints.keys()):
        raise UsageError(
            f"{where}: expected keys of a training configuration, got {unknown[0]!r:.80}; "
            f"see docs/training.md"
        )
    if "manifest" not in table:
        raise UsageError(f"{where}: expected the key 'manifest', it is missing")
    values = {
        key: convert_value(hints[key], value, f"{where}: {key}") for key, value in table.items()
    }
    try:
        return TrainConfig(**values)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def config_to_table(config: TrainConfig) -> dict[str, Any]:
    """Every value, plain enough for JSON."""
    table = dataclasses.asdict(config)
    return {
        key: str(value)
        if isinstance(value, Denoise)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in table.items()
    }


def convert_value(kind: Any, value: object, where: str) -> Any:
    """A value of TOML or JSON as a field of this type has it.

    Raises:
        UsageError: it is of another type.
    """
    origin = get_origin(kind)
    if origin is tuple:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"{where}: expected a list of texts, got {value!r:.60}")
    if origin is dict:
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return value
        raise UsageError(f"{where}: expected a table of texts, got {value!r:.60}")
    choices = get_args(kind) if origin is Literal else ()
    if kind is Denoise:
        choices = tuple(item.value for item in Denoise)
    if choices:
        if value not in choices:
            raise UsageError(f"{where}: expected one of {', '.join(choices)}, got {value!r:.60}")
        return Denoise(str(value)) if kind is Denoise else value
    if kind is float and type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]
    if type(value) is not kind:
        words = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
        raise UsageError(f"{where}: expected {words[kind]}, got {value!r:.60}")
    return value
