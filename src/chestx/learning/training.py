"""The loop: labelled images and a network in, the best weights and their curve out."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from safetensors.torch import save

from chestx.domain import ChestxError, UsageError
from chestx.files import write_whole
from chestx.learning.backbones import Network, load_state
from chestx.learning.checkpoints import load_checkpoint, save_checkpoint
from chestx.learning.config import TrainConfig
from chestx.learning.dataset import LabelledImages, iterate_batches
from chestx.learning.progress import EpochRecord, Progress, StepReport
from chestx.learning.trainer import Trainer
from chestx.learning.validation import ValidationFigures, validate

log = logging.getLogger(__name__)

BEST = "best.safetensors"

_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}

OnStep = Callable[[StepReport], None]
OnEpoch = Callable[[Progress], None]


def make_fabric(config: TrainConfig) -> Fabric:
    """Device, precision and processes; every process of the run calls it once.

    Raises:
        UsageError: this machine has no such device, or it cannot compute so.
    """
    if config.deterministic:
        # What CUDA's matrix products need to give the same bits twice; read when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # What fabric says of itself at every start is no news to anybody.
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    several = config.devices * config.nodes > 1
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy="ddp" if several else "auto",
            precision=_PRECISIONS[config.precision],
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise UsageError(
            f"accelerator {config.accelerator!r:.40} with {config.devices} devices: "
            f"{str(error).splitlines()[0]:.200}"
        ) from error
    if config.precision == "fp16" and fabric.device.type == "cpu":
        raise UsageError("precision: expected fp32 or bf16 on a CPU, got fp16")
    fabric.launch()
    return fabric


def train(
    network: Network,
    images: LabelledImages,
    validation: LabelledImages,
    *,
    config: TrainConfig,
    run: Path,
    fabric: Fabric,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
) -> Progress:
    """Trains until the epochs are over or the monitored figure no longer gets better.

    Where the folder holds a checkpoint, the run goes on from it: same curve, same weights.

    Args:
        network: with its first weights.
        images: that are learnt from.
        validation: that choose the epoch.
        config: of the run.
        run: folder for checkpoint and best weights.
        fabric: from :func:`make_fabric`.
        on_step, on_epoch: are called in the first process.

    Raises:
        UsageError: the images or the network do not go with the configuration.
        ChestxError: the loss is no number.
    """
    with _settings(config):
        trainer = Trainer(network, images, config, fabric)
        progress = _resume(trainer, run)
        while progress.epoch < config.epochs and not _has_stalled(progress, config):
            _train_epoch(trainer, progress, images, config, run, fabric, on_step)
            if fabric.is_global_zero:
                start = time.monotonic()
                figures = validate(trainer.averaged, validation, batch_size=config.batch_size)
                progress.seconds += time.monotonic() - start
                _finish_epoch(trainer, progress, figures, config, run)
                if on_epoch is not None:
                    on_epoch(progress)
            if fabric.world_size > 1:
                # Every process goes on from what the first one decided.
                progress.take_over(Progress.from_table(fabric.broadcast(progress.to_table())))
    return progress


def _train_epoch(
    trainer: Trainer,
    progress: Progress,
    images: LabelledImages,
    config: TrainConfig,
    run: Path,
    fabric: Fabric,
    on_step: OnStep | None,
) -> None:
    """The steps of a pass, from the one on where it was left."""
    trainer.begin_epoch(progress)
    batches = iterate_batches(
        images,
        config,
        epoch=progress.epoch,
        first_step=progress.step,
        rank=fabric.global_rank,
        processes=fabric.world_size,
    )
    first, before = progress.step, progress.seconds
    start = saved = time.monotonic()
    for batch in batches:
        loss = trainer.take_step(batch, progress)
        if not math.isfinite(loss):
            raise ChestxError(
                f"the loss is {loss} at step {progress.step + 1} of epoch {progress.epoch + 1}, "
                f"learning rate {trainer.learning_rate:.3g}; make learning_rate smaller, set "
                'clip_norm, or set precision = "fp32"'
            )
        now = time.monotonic()
        progress.step += 1
        progress.loss_sum += loss
        progress.seconds = before + now - start
        is_due = 0 < config.checkpoint_minutes * 60 < now - saved
        # Only where the weights have just moved: gradients are not saved.
        if is_due and progress.step % config.accumulation == 0 and fabric.is_global_zero:
            _save(trainer, progress, run)
            saved = time.monotonic()
        if on_step is not None and fabric.is_global_zero:
            a_step = (now - start) / (progress.step - first)
            left = (config.epochs - progress.epoch) * trainer.steps - progress.step
            on_step(
                StepReport(
                    epoch=progress.epoch + 1,
                    epochs=config.epochs,
                    step=progress.step,
                    steps=trainer.steps,
                    loss=loss,
                    images_per_second=config.batch_size * fabric.world_size / max(a_step, 1e-9),
                    seconds_left=a_step * left,
                )
            )


def _finish_epoch(
    trainer: Trainer,
    progress: Progress,
    figures: ValidationFigures,
    config: TrainConfig,
    run: Path,
) -> None:
    """Judges the weights, keeps them where they are the best, and writes down the pass."""
    figure = figures.monitored(config.monitor)
    is_best = figure > progress.best
    if is_best:
        progress.best, progress.best_epoch = figure, progress.epoch + 1
        _save_weights(trainer.averaged, run)
    elif config.schedule == "plateau":
        waited = progress.epoch + 1 - progress.best_epoch
        if waited % (config.plateau_patience + 1) == 0:
            progress.rate_factor /= 2
    progress.history.append(
        EpochRecord(
            epoch=progress.epoch + 1,
            train_loss=progress.loss_sum / max(progress.step, 1),
            learning_rate=trainer.learning_rate,
            seconds=progress.seconds,
            figures=figures,
            is_best=is_best,
        )
    )
    progress.epoch += 1
    progress.step, progress.loss_sum, progress.seconds = 0, 0.0, 0.0
    _save(trainer, progress, run)


def _has_stalled(progress: Progress, config: TrainConfig) -> bool:
    return bool(config.patience) and progress.epoch - progress.best_epoch >= config.patience


def _save(trainer: Trainer, progress: Progress, run: Path) -> None:
    save_checkpoint(run, {"progress": progress.to_table(), "state": trainer.state()})


def _resume(trainer: Trainer, run: Path) -> Progress:
    saved = load_checkpoint(run)
    if saved is None:
        return Progress()
    trainer.load(saved["state"])
    return Progress.from_table(saved["progress"])


def _save_weights(network: Network, run: Path) -> None:
    state = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    with write_whole(run / BEST) as file:
        file.write(save(state))


def load_best(network: Network, run: Path) -> None:
    """Fills a network with the best weights of a run.

    Raises:
        UsageError: they are damaged, or of another network.
    """
    state = load_state(run / BEST)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(
            f"{str(run / BEST)!r}: expected the weights of the network that the run's record "
            "names, got those of another; take the folder anew from where it was trained"
        ) from error


@contextmanager
def _settings(config: TrainConfig) -> Iterator[None]:
    """torch's settings for the length of a run; a notebook gets its own back."""
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    try:
        torch.use_deterministic_algorithms(config.deterministic)
        if config.threads:
            torch.set_num_threads(config.threads)
        yield
    finally:
        torch.use_deterministic_algorithms(was_deterministic)
        torch.set_num_threads(threads)
        torch.set_rng_state(random)
