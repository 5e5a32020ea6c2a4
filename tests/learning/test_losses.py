"""Losses: known values, and no gradient from what nobody knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from chestx.datasets.example import Task
from chestx.learning.dataset import Batch
from chestx.learning.losses import RobustWeights, SourceAdversary, compute_coral, compute_losses
from chestx.learning.trainer import weigh_labels

pytestmark = pytest.mark.torch


def make_batch(targets: Tensor, known: Tensor | None = None) -> Batch:
    count = len(targets)
    return Batch(
        pixels=torch.zeros(count, 1, 4, 4, dtype=torch.uint8),
        targets=targets,
        known=torch.ones_like(targets) if known is None else known,
        sources=torch.zeros(count, dtype=torch.int64),
        kinds=targets.argmax(1),
    )


def test_an_unknown_target_has_no_gradient() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    known = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    batch = make_batch(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), known)
    weights = torch.tensor([2.0, 3.0])
    losses = compute_losses(
        logits, batch, task=Task.MULTI_LABEL, label_smoothing=0.1, label_weights=weights
    )
    losses.mean().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[known == 0] == 0).all()
    assert (logits.grad[known == 1] != 0).all()
    assert losses[2] == 0


def test_what_an_unknown_target_says_does_not_matter() -> None:
    logits, known = torch.randn(4, 3), torch.tensor([[1.0, 0.0, 1.0]]).repeat(4, 1)
    first = make_batch(torch.zeros(4, 3), known)
    second = make_batch(torch.tensor([[0.0, 1.0, 0.0]]).repeat(4, 1), known)
    losses = [compute_losses(logits, batch, task=Task.MULTI_LABEL) for batch in (first, second)]
    assert torch.equal(*losses)


def test_cross_entropy_has_its_known_value() -> None:
    batch = make_batch(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    logits = torch.zeros(2, 2)
    plain = compute_losses(logits, batch, task=Task.SINGLE_LABEL)
    assert plain.tolist() == pytest.approx([math.log(2)] * 2)
    weighted = compute_losses(
        logits, batch, task=Task.SINGLE_LABEL, label_weights=torch.tensor([1.0, 3.0])
    )
    assert weighted.tolist() == pytest.approx([math.log(2), 3 * math.log(2)])


def test_binary_cross_entropy_is_smoothed_to_its_known_value() -> None:
    batch = make_batch(torch.tensor([[1.0]]))
    [loss] = compute_losses(
        torch.tensor([[2.0]]), batch, task=Task.MULTI_LABEL, label_smoothing=0.2
    )
    sick = 1 / (1 + math.exp(-2))
    assert float(loss) == pytest.approx(-0.9 * math.log(sick) - 0.1 * math.log(1 - sick))


def test_label_weights_follow_rarity(
    data: Path, multi_data: Path, load_images: Callable[..., Any]
) -> None:
    import dataclasses

    images = load_images(data)
    rare = dataclasses.replace(
        images,
        pixels=images.pixels[:36],
        targets=images.targets[[*range(0, 24), *range(24, 48, 2)]],
        sources=images.sources[:36],
        groups=images.groups[:36],
        paths=images.paths[:36],
        kinds=images.kinds[:36],
    )
    weights = weigh_labels(rare)
    present = torch.from_numpy((rare.targets == 1).sum(0))
    assert present.tolist() == [24, 12]
    assert weights.tolist() == pytest.approx([0.75, 1.5])
    assert float((weights * present).sum()) == 36
    multi = load_images(multi_data)
    positive = weigh_labels(multi)
    present, absent = ((multi.targets == value).sum(0) for value in (1, 0))
    assert positive.tolist() == pytest.approx((absent / present).tolist())


def test_the_group_that_does_worst_counts_most() -> None:
    robust = RobustWeights(3, step=1.0)
    losses = torch.tensor([2.0, 2.0, 0.1], requires_grad=True)
    groups = torch.tensor([0, 0, 2])
    first = robust.reduce(losses, groups)
    e = [math.exp(2), 1.0, math.exp(0.1)]
    assert robust.weights.tolist() == pytest.approx([x / sum(e) for x in e])
    share = e[0] / (e[0] + e[2])
    assert float(first.detach()) == pytest.approx(share * 2 + (1 - share) * 0.1)
    first.backward()  # type: ignore[no-untyped-call]
    assert losses.grad is not None
    assert losses.grad.tolist() == pytest.approx([share / 2, share / 2, 1 - share])


def test_processes_agree_on_the_weights_of_groups() -> None:
    """Another process saw group 1 with a loss of 3, twice."""
    robust = RobustWeights(2, step=1.0)
    elsewhere = [torch.tensor([0.0, 2.0]), torch.tensor([0.0, 6.0])]
    robust.reduce(
        torch.tensor([1.0]), torch.tensor([0]), add_processes=lambda own: own + elsewhere.pop(0)
    )
    assert robust.weights.tolist() == pytest.approx(
        [math.exp(1) / (math.exp(1) + math.exp(3)), math.exp(3) / (math.exp(1) + math.exp(3))]
    )


def test_coral_is_nothing_for_sources_that_are_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(8, 5, generator=generator)
    twice, sources = torch.cat([features, features]), torch.tensor([0] * 8 + [1] * 8)
    kinds = torch.zeros(16, dtype=torch.int64)
    assert float(compute_coral(twice, sources, kinds)) == pytest.approx(0, abs=1e-6)
    shifted = torch.cat([features, features + 2])
    assert float(compute_coral(shifted, sources, kinds)) > 0.1
    wider = torch.cat([features, features * 3])
    assert float(compute_coral(wider, sources, kinds)) > 0.1


def test_coral_compares_within_a_label_only() -> None:
    """Sources whose labels differ may differ in their features."""
    features = torch.cat([torch.randn(8, 5), torch.randn(8, 5) + 5]).requires_grad_()
    sources = kinds = torch.tensor([0] * 8 + [1] * 8)
    penalty = compute_coral(features, sources, kinds)
    penalty.backward()  # type: ignore[no-untyped-call]
    assert float(penalty.detach()) == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_the_adversary_learns_and_the_features_learn_against_it() -> None:
    torch.manual_seed(0)
    adversary = SourceAdversary(features=4, labels=2, sources=2)
    features = torch.randn(16, 4, requires_grad=True)
    targets, sources = torch.eye(2)[torch.arange(16) % 2], torch.arange(16) // 8
    loss = adversary(features, targets, sources)
    loss.backward()
    assert features.grad is not None
    with torch.no_grad():
        # Down the gradient that reaches them, the features make the adversary's loss larger.
        moved = adversary(features - 0.5 * features.grad, targets, sources)
    assert moved > loss
