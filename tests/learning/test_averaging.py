"""The mean of the weights of several networks of one kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chestx.domain import InputSpec, UsageError
from chestx.learning.averaging import Member, average_weights, load_member
from chestx.learning.backbones import build_network

pytestmark = pytest.mark.torch

SPEC = InputSpec(size=64)


def make_member(seed: int, *, labels: tuple[str, ...] = ("NORMAL", "PNEUMONIA")) -> Member:
    """A network with random weights."""
    torch.manual_seed(seed)
    network = build_network("test_resnet", labels=len(labels))
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point() and value.ndim:
                value.copy_(torch.rand_like(value) + 0.5)
    return Member(
        where=f"member {seed}",
        network=network,
        architecture={"backbone": "test_resnet", "output_stride": 32},
        labels=labels,
        spec=SPEC,
        split_sha256="a",
        described={},
    )


def copy_state(member: Member) -> dict[str, Any]:
    return {key: value.clone() for key, value in member.network.state_dict().items()}


def test_every_weight_becomes_the_mean_and_the_others_stay() -> None:
    members = [make_member(seed) for seed in range(3)]
    for member in members[1:]:
        for key in ("mean", "std"):
            member.network.state_dict()[key].copy_(members[0].network.state_dict()[key])
    before = [copy_state(member) for member in members]
    average_weights(members[0], members[1:])
    for key, value in members[0].network.state_dict().items():
        wanted = (
            np.mean([state[key].numpy() for state in before], axis=0)
            if value.is_floating_point()
            else before[0][key].numpy()
        )
        np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-6, err_msg=key)
    for member, state in zip(members[1:], before[1:], strict=True):
        for key, value in member.network.state_dict().items():
            assert torch.equal(value, state[key])


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_a_share_is_of_the_first_and_the_others_make_up_the_rest_alike(share: float) -> None:
    members = [make_member(seed) for seed in range(3)]
    for member in members[1:]:
        for key in ("mean", "std"):
            member.network.state_dict()[key].copy_(members[0].network.state_dict()[key])
    before = [copy_state(member) for member in members]
    average_weights(members[0], members[1:], share=share)
    rest = (1 - share) / 2
    for key, value in members[0].network.state_dict().items():
        a, b, c = (state[key].numpy() for state in before)
        wanted = share * a + rest * b + rest * c if value.is_floating_point() else a
        np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-6, err_msg=key)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan"), float("inf")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    first = make_member(0)
    with pytest.raises(UsageError, match="share: expected a number above 0 and below 1, got"):
        average_weights(first, [make_member(0)], share=share)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a network to average with, got none"):
        average_weights(make_member(0), [], share=0.5)


def test_alone_a_network_stays_what_it_is() -> None:
    member = make_member(0)
    before = copy_state(member)
    average_weights(member, [])
    for key, value in member.network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key].numpy())


def test_other_labels_are_refused() -> None:
    other = make_member(1, labels=("PNEUMONIA", "NORMAL"))
    with pytest.raises(UsageError, match="expected the labels NORMAL, PNEUMONIA of member 0"):
        average_weights(make_member(0), [other])


def test_another_preprocessing_is_refused() -> None:
    other = replace(make_member(1), spec=InputSpec(size=96))
    with pytest.raises(
        UsageError,
        match=r"prepared as for member 0, got another size \(96, not 64\)$",
    ):
        average_weights(make_member(0), [other])


def test_other_rows_are_refused_and_unknown_ones_are_not() -> None:
    first = make_member(0)
    with pytest.raises(UsageError, match="expected the same rows and splits as member 0"):
        average_weights(first, [replace(make_member(0), split_sha256="b")])
    average_weights(first, [replace(make_member(0), split_sha256="")])


def test_another_network_is_refused() -> None:
    other = replace(make_member(1), network=build_network("resnet18", labels=2))
    with pytest.raises(UsageError, match="expected the network of member 0"):
        average_weights(make_member(0), [other])


def test_a_network_with_the_same_tensors_that_computes_otherwise_is_refused() -> None:
    finer = replace(make_member(0), architecture={"backbone": "test_resnet", "output_stride": 16})
    with pytest.raises(
        UsageError,
        match=r"expected the network of member 0, got another output_stride \(16, not 32\)$",
    ):
        average_weights(make_member(0), [finer])


def test_another_normalisation_is_refused() -> None:
    first, other = make_member(0), make_member(0)
    other.network.state_dict()["mean"].add_(0.1)
    with pytest.raises(UsageError, match="expected grey values to be normalised as in member 0"):
        average_weights(first, [other])


def test_what_is_neither_a_run_nor_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a run of chestx train or a model folder"):
        load_member(tmp_path)
    with pytest.raises(UsageError, match="expected a run of chestx train or a model folder"):
        load_member(tmp_path / "nothing")
