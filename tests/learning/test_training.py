"""The loop: everything that can be switched on does what it says, and faults stop it clearly."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chestx.domain import ChestxError, UsageError
from chestx.learning.checkpoints import load_checkpoint
from chestx.learning.training import BEST, load_best, make_fabric

pytestmark = pytest.mark.torch

Train = Callable[..., Any]
Weights = dict[str, Tensor]


def are_equal(first: Weights, second: Weights) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def plain(data: Path, train_loop: Train) -> Any:
    """A run without anything switched on, to compare with."""
    return train_loop(data)


def test_it_learns_what_can_be_learnt(data: Path, train_loop: Train) -> None:
    run = train_loop(data, epochs=8, batch_size=6, ema_decay=0.8)
    assert run.progress.history[-1].figures.within_source_auroc > 0.9
    assert run.losses[-1] < 0.4 < run.losses[0]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    data: Path, plain: Any, train_loop: Train
) -> None:
    again, other = train_loop(data), train_loop(data, seed=1)
    assert (again.folder / BEST).read_bytes() == (plain.folder / BEST).read_bytes()
    assert not are_equal(plain.weights, other.weights)


def test_threads_that_make_images_change_nothing_and_no_child_is_forked(
    data: Path, plain: Any, train_loop: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenCV's own threads are at work here; a forked child would wait for them for ever.
    monkeypatch.delattr("os.fork")
    run = train_loop(data, loader_threads=2)
    assert are_equal(plain.weights, run.weights)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"ema_decay": 0.9},
        {"augment_mixup": 0.4},
        {"label_smoothing": 0.1},
        {"clip_norm": 0.1},
        {"group_robust": 0.5},
        {"alignment": "coral", "alignment_weight": 1.0, "batch_size": 24},
        {"alignment": "adversary", "alignment_weight": 0.5},
        {"balance": "label_and_source"},
        {"hidden_features": 16},
        {"dropout": 0.5},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "adam"},
        {"schedule": "cosine"},
        {"backbone_rate": 0.1},
        {"weight_decay": 0.5},
        {"freeze_norm": True},
    ],
    ids=lambda changes: "-".join(f"{key}" for key in changes),
)
def test_each_setting_changes_the_weights_and_still_learns(
    data: Path, plain: Any, train_loop: Train, changes: dict[str, Any]
) -> None:
    run = train_loop(data, **changes)
    losses = run.losses
    assert all(math.isfinite(loss) for loss in losses)
    weights = run.weights
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert {key for key in weights if not key.startswith("hidden.")} == plain.weights.keys()
    if "hidden_features" not in changes:
        assert not are_equal(plain.weights, weights)


def test_images_whose_labels_exclude_nothing_are_learnt_from(
    multi_data: Path, train_loop: Train
) -> None:
    run = train_loop(multi_data, epochs=6, class_weights=True, label_smoothing=0.05)
    figures = run.progress.history[-1].figures
    assert run.progress.history[-1].train_loss < run.progress.history[0].train_loss
    assert 0 < figures.accuracy <= 1
    robust = train_loop(multi_data, epochs=1, group_robust=0.5, balance="label_and_source")
    assert math.isfinite(robust.losses[0])


def test_the_averaged_weights_are_those_that_are_kept(
    data: Path, plain: Any, train_loop: Train
) -> None:
    """They lag behind the weights that move, and hold little of the first ones."""
    moved = train_loop(data, epochs=2)
    slow = train_loop(data, epochs=2, ema_decay=0.999)
    first = train_loop(data, epochs=1, learning_rate=1e-8).weights["head.weight"]
    way = (moved.weights["head.weight"] - first).flatten()
    done = (slow.weights["head.weight"] - first).flatten()
    share = float(done @ way / (way @ way))
    # With a decay of 0.999 from the first step on it would be some 0.01.
    assert share > 0.5
    assert not torch.equal(slow.weights["head.weight"], moved.weights["head.weight"])


def test_frozen_epochs_leave_the_backbone_alone(data: Path, train_loop: Train) -> None:
    frozen = train_loop(data, epochs=1, frozen_epochs=1)
    untouched = train_loop(data, epochs=1, learning_rate=1e-8, freeze_norm=True, weight_decay=0.0)
    before, after = untouched.weights, frozen.weights
    for key, value in after.items():
        if key.startswith("backbone.") and value.is_floating_point():
            assert torch.allclose(value, before[key], atol=1e-5), key
    assert not torch.allclose(after["head.weight"], before["head.weight"], atol=1e-3)


def test_frozen_epochs_end(data: Path, train_loop: Train) -> None:
    frozen = train_loop(data, epochs=1, frozen_epochs=1)
    thawed = load_checkpoint(train_loop(data, epochs=2, frozen_epochs=1).folder)
    assert thawed is not None
    key = "backbone.layer1.0.conv1.weight"
    assert not torch.equal(frozen.weights[key], thawed["state"]["network"][key])


def test_frozen_statistics_stay(data: Path, plain: Any, train_loop: Train) -> None:
    run = train_loop(data, freeze_norm=True)
    means = [key for key in run.weights if key.endswith("running_mean")]
    assert means
    assert all(not run.weights[key].any() for key in means)
    assert any(plain.weights[key].any() for key in means)


def test_plateau_halves_the_rate_and_patience_ends_the_run(data: Path, train_loop: Train) -> None:
    """A rate that changes nothing never gets better than the first epoch."""
    run = train_loop(
        data,
        epochs=20,
        schedule="plateau",
        plateau_patience=1,
        patience=5,
        learning_rate=1e-8,
        weight_decay=0.0,
        freeze_norm=True,
        ema_decay=0.0,
    )
    assert run.progress.best_epoch == 1
    assert run.progress.epoch == 6
    rates = [epoch.learning_rate for epoch in run.progress.history]
    assert rates == pytest.approx([1e-8, 1e-8, 1e-8, 0.5e-8, 0.5e-8, 0.25e-8])
    assert [epoch.is_best for epoch in run.progress.history] == [True] + [False] * 5


def test_a_loss_that_is_no_number_stops_the_run(data: Path, train_loop: Train) -> None:
    with pytest.raises(ChestxError, match=r"the loss is (nan|inf) at step \d+ of epoch 1"):
        train_loop(data, learning_rate=10.0, optimizer="sgd", weight_decay=10.0, epochs=3)


def test_validation_that_gives_no_numbers_stops_the_run(
    data: Path, load_images: Callable[..., Any]
) -> None:
    from chestx.learning.backbones import build_network
    from chestx.learning.validation import validate

    network = build_network("test_resnet", labels=2)
    torch.nn.init.constant_(network.head.weight, math.inf)
    with pytest.raises(ChestxError, match="no numbers for 24 of 24 validation images"):
        validate(network, load_images(data, "validation"), batch_size=8)


def test_a_batch_that_is_too_large_is_refused(data: Path, train_loop: Train) -> None:
    with pytest.raises(UsageError, match=r"at most 48, the images of a pass, got 32 x 2 x 1"):
        train_loop(data, batch_size=32, accumulation=2)


def test_a_batch_that_cannot_be_normalised_is_refused(data: Path, train_loop: Train) -> None:
    with pytest.raises(UsageError, match="expected at least 2 where size 16 leaves a map of one"):
        train_loop(data, batch_size=1, size=16, backbone="resnet18")


def test_too_little_memory_is_said_in_words(
    data: Path, train_loop: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chestx.learning.trainer import Trainer

    for fault in (
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ):

        def fail(*_: object, fault: BaseException = fault) -> float:
            raise fault

        monkeypatch.setattr(Trainer, "take_step", fail)
        with pytest.raises(ChestxError, match="not enough memory for steps of 8 images"):
            train_loop(data)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("[pair.cc:534] Connection closed by peer [127.0.0.1]", "another process of this run"),
        (
            "foo_cuda does not have a deterministic implementation, but you set",
            "set deterministic = false",
        ),
    ],
)
def test_other_faults_are_said_in_words(
    data: Path, train_loop: Train, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    from chestx.learning.trainer import Trainer

    def fail(*_: object) -> float:
        raise RuntimeError(fault)

    monkeypatch.setattr(Trainer, "take_step", fail)
    with pytest.raises(ChestxError, match=words):
        train_loop(data)


def test_a_fault_that_nobody_foresaw_is_not_hidden(
    data: Path, train_loop: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chestx.learning.trainer import Trainer

    def fail(*_: object) -> float:
        raise RuntimeError("something else")

    monkeypatch.setattr(Trainer, "take_step", fail)
    with pytest.raises(RuntimeError, match="something else"):
        train_loop(data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accelerator": "quantum"}, "quantum"),
        ({"accelerator": "cuda"}, "not available"),
        ({"precision": "fp16"}, "expected fp32 or bf16 on a CPU"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    make_config: Callable[..., Any], changes: dict[str, Any], words: str
) -> None:
    if changes.get("accelerator") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with (
        pytest.warns() if "precision" in changes else _nothing(),
        pytest.raises(UsageError, match=words),
    ):
        make_fabric(make_config(**changes))


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_settings_of_torch_are_given_back(data: Path, train_loop: Train) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    assert not torch.are_deterministic_algorithms_enabled()
    train_loop(data, epochs=1)
    assert torch.equal(torch.rand(1), wanted)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads


def test_the_best_weights_come_back(data: Path, plain: Any, load_images: Any) -> None:
    from chestx.learning.backbones import build_network
    from chestx.learning.validation import validate

    network = build_network("test_resnet", labels=2)
    load_best(network, plain.folder)
    figures = validate(network, load_images(data, "validation"), batch_size=5)
    best = plain.progress.history[plain.progress.best_epoch - 1].figures
    assert figures.macro_auroc == best.macro_auroc
    assert np.isclose(figures.loss, best.loss, atol=1e-5)
