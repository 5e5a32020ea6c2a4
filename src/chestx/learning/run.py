"""``chestx train``: a configuration in, a run folder out that says all of itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only

from chestx.batch.inputs import collect_inputs
from chestx.batch.journal import lock_output
from chestx.datasets.manifest import ManifestTable, read_manifest
from chestx.domain import ChestxError, UsageError
from chestx.files import write_text
from chestx.learning.backbones import Network, build_network, load_backbone_weights
from chestx.learning.checkpoints import CHECKPOINT
from chestx.learning.config import TrainConfig, load_config
from chestx.learning.curve import render_curve, to_plain, write_history
from chestx.learning.dataset import LabelledImages, prepare_split
from chestx.learning.faults import explain_faults
from chestx.learning.memory import keep_memory
from chestx.learning.pixels import load_pixels
from chestx.learning.progress import Progress
from chestx.learning.provenance import (
    check_same_run,
    describe_progress,
    describe_run,
    hash_paths,
    join_records,
)
from chestx.learning.published import load_network
from chestx.learning.training import OnEpoch, OnStep, make_fabric, train
from chestx.models.folder import load_model_folder

log = logging.getLogger(__name__)

RUN, HISTORY, PAGE, EVENTS = "run.json", "history.csv", "training.html", "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """What came of a run.

    Attributes:
        folder: of checkpoint, best weights, curve and record.
        progress: the curve, and the best epoch.
        images, validation: how many were learnt from, and chose the epoch.
        unreadable: how many were left out.
        is_first_process: whether this process speaks for the run.
    """

    folder: Path
    progress: Progress
    images: int
    validation: int
    unreadable: int
    is_first_process: bool = True


def run_training(
    config_path: Path,
    folder: Path,
    *,
    resume: bool = False,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    on_image: Callable[[], None] | None = None,
) -> TrainingRun:
    """Trains as a configuration says.

    Args:
        config_path: the TOML file.
        folder: of the run; new, unless it is resumed.
        resume: go on from the last checkpoint in the folder; a new folder is begun.
        on_step, on_epoch: told in the first process.
        on_image: told of each image that is read for the first time.

    Raises:
        UsageError: a wrong configuration, manifest or folder, or one that changed since.
        ChestxError: the run cannot go on; the text says why.
    """
    config = load_config(config_path)
    base = config_path.parent
    table = read_manifest(
        base / config.manifest,
        columns=config.columns,
        labels=list(config.labels) or None,
        rename=config.rename,
        where=list(config.where),
    )
    cache = base / config.cache if config.cache else folder / "cache"
    unlabelled = _list_unlabelled(config, base)
    record = describe_run(config, table, base / config.manifest, cache)
    record["unlabelled_sha256"] = hash_paths(unlabelled) if unlabelled else ""
    # In the first process, before it starts others: what is wrong is said once.
    is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    with _hold_folder(folder) if is_first else nullcontext():
        earlier = _read_earlier(folder, record, resume=resume) if is_first else None
        fabric = make_fabric(config)
        if fabric.is_global_zero:
            if earlier is not None:
                record = join_records(earlier, record)
            write_text(folder / RUN, _to_json(record))
            resumed = (folder / CHECKPOINT).is_file()
            log.info("run folder ready", extra={"fields": {"resumed": resumed}})
        try:
            with explain_faults(config), keep_memory():
                images, validation = _prepare_images(fabric, table, config, cache, on_image)
                if unlabelled:
                    images = _add_unlabelled(fabric, images, unlabelled, config, cache, on_image)
                record |= {
                    "images": {"train": len(images), "validation": len(validation)},
                    "unreadable": {**images.unreadable, **validation.unreadable},
                }
                network, record["weights"] = make_network(config, images, base=base)
                with _listen(folder, record, fabric, on_epoch) as listen:
                    progress = train(
                        network,
                        images,
                        validation,
                        config=config,
                        run=folder,
                        fabric=fabric,
                        on_step=on_step,
                        on_epoch=listen,
                    )
        except ChestxError as error:
            if fabric.is_global_zero:
                write_text(folder / RUN, _to_json({**record, "status": f"stopped: {error}"}))
            raise
        if fabric.is_global_zero:
            record.update(describe_progress(progress), status="finished")
            _write_curve(folder, record, progress)
    return TrainingRun(
        folder=folder,
        progress=progress,
        images=len(images),
        validation=len(validation),
        unreadable=len(record["unreadable"]),
        is_first_process=fabric.is_global_zero,
    )


@contextmanager
def _listen(
    folder: Path, record: dict[str, Any], fabric: Fabric, on_epoch: OnEpoch | None
) -> Iterator[OnEpoch]:
    """Writes down every pass; ``record`` grows with it."""
    writer = _open_events(folder) if fabric.is_global_zero else None

    def finish_epoch(progress: Progress) -> None:
        record.update(describe_progress(progress))
        _write_curve(folder, record, progress)
        if writer is not None:
            for name, value in _list_scalars(progress).items():
                writer.add_scalar(name, value, progress.epoch)
            writer.flush()
        if on_epoch is not None:
            on_epoch(progress)

    try:
        yield finish_epoch
    finally:
        if writer is not None:
            writer.close()


def make_network(config: TrainConfig, images: LabelledImages, *, base: Path) -> tuple[Network, str]:
    """A network with its first weights, and where they came from.

    Args:
        config: of the run.
        images: whose labels it answers for.
        base: folder that a relative path of weights counts from.

    Raises:
        UsageError: the weights cannot be had or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(
            config.backbone,
            labels=len(images.labels),
            hidden_features=config.hidden_features,
            dropout=config.dropout,
            output_stride=config.output_stride,
        )
    weights = config.weights
    if weights in ("imagenet", "none"):
        return network, load_backbone_weights(network, config.backbone, weights)
    path = base / weights
    if path.is_dir():
        return network, _load_model_weights(network, path, images.labels)
    return network, load_backbone_weights(network, config.backbone, str(path))


def _load_model_weights(network: Network, path: Path, labels: tuple[str, ...]) -> str:
    """From a verified folder: the backbone, and the head too where the labels are the same."""
    folder = load_model_folder(path)
    state = load_network(folder).state_dict()
    same = tuple(label.key for label in folder.card.labels) == labels
    own = network.state_dict()
    wanted = {key for key in own if same or not key.startswith("head.")}
    given = {key for key in state if same or not key.startswith("head.")}
    misfits = sorted(
        key
        for key in wanted | given
        if key not in own or key not in state or own[key].shape != state[key].shape
    )
    if misfits:
        raise UsageError(
            f"weights {str(path)!r}: expected those of this backbone and hidden layer, "
            f"{len(misfits)} tensors are missing, left over or of another shape, "
            f"e.g. {misfits[0]!r}; set backbone and hidden_features as that model has them"
        )
    network.load_state_dict({**own, **{key: state[key] for key in wanted}})
    return f"model {folder.identity}, {'with' if same else 'without'} its head"


@contextmanager
def _hold_folder(folder: Path) -> Iterator[None]:
    """Makes the folder where it is new, and keeps a second run out of it."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{str(folder)!r}: expected a folder, got a file")
    folder.mkdir(parents=True, exist_ok=True)
    with lock_output(folder):
        yield


def _read_earlier(folder: Path, record: dict[str, Any], *, resume: bool) -> dict[str, Any] | None:
    """What the folder says of this very run; None where it is new."""
    if not any(folder.iterdir()):
        return None
    if not resume:
        raise UsageError(
            f"{str(folder)!r} is not empty; name another folder, or give --resume to go on"
        )
    earlier = _read_record(folder)
    check_same_run(earlier, record, folder)
    return earlier


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise UsageError(
            f"{str(folder)!r}: expected a run of chestx train, got a folder without its {RUN}"
        )
    return record


def _prepare_images(
    fabric: Fabric,
    table: ManifestTable,
    config: TrainConfig,
    cache: Path,
    on_image: Callable[[], None] | None,
) -> tuple[LabelledImages, LabelledImages]:
    """The first process fills the cache, the others find it filled."""

    def prepare() -> tuple[LabelledImages, LabelledImages]:
        train_images, validation = (
            prepare_split(table.manifest, split, spec=config.input, cache=cache, on_image=on_image)
            for split in (config.train_split, config.validation_split)
        )
        return train_images, validation

    with fabric.rank_zero_first():
        return prepare()


def _list_unlabelled(config: TrainConfig, base: Path) -> list[str]:
    if not config.unlabelled:
        return []
    found = collect_inputs([str(base / name) for name in config.unlabelled], standard_input=b"")
    return list(found.paths)


def _add_unlabelled(
    fabric: Fabric,
    images: LabelledImages,
    paths: list[str],
    config: TrainConfig,
    cache: Path,
    on_image: Callable[[], None] | None,
) -> LabelledImages:
    """With the images of another place, as many as can be read."""
    with fabric.rank_zero_first():
        pixels, failures = load_pixels(paths, config.input, cache, None, on_image)
    if len(pixels) < config.batch_size:
        raise UsageError(
            f"unlabelled: expected a batch of {config.batch_size} readable images at least, got "
            f"{len(pixels)}"
        )
    unreadable = {**images.unreadable, **failures}
    return replace(images, unlabelled=pixels, unreadable=unreadable)


def _list_scalars(progress: Progress) -> dict[str, float]:
    last = progress.history[-1]
    return {
        "train/loss": last.train_loss,
        "train/learning_rate": last.learning_rate,
        "validation/loss": last.figures.loss,
        "validation/accuracy": last.figures.accuracy,
        "validation/macro_auroc": last.figures.macro_auroc,
        "validation/within_source_auroc": last.figures.within_source_auroc,
    }


def _open_events(folder: Path) -> Any:
    """TensorBoard's file of events; None where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("no events for TensorBoard: the package is not installed")
        return None
    return SummaryWriter(folder / EVENTS)


def _write_curve(folder: Path, record: dict[str, Any], progress: Progress) -> None:
    write_text(folder / RUN, _to_json(record))
    write_text(folder / HISTORY, write_history(progress.history))
    write_text(folder / PAGE, render_curve(record, progress))


def _to_json(record: dict[str, Any]) -> str:
    return json.dumps(to_plain(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
