"""The graph that runs gives the numbers of torch; its maps are the logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chestx.domain import Activation, ChestxError
from chestx.learning.backbones import build_network
from chestx.learning.export import _Served, check_parity, export_network
from chestx.models.runtime import load_runtime

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.mark.parametrize(
    ("activation", "hidden"), [(Activation.SOFTMAX, 0), (Activation.SIGMOID, 8)]
)
def test_the_graph_gives_what_torch_gives(activation: Activation, hidden: int) -> None:
    torch.manual_seed(0)
    network = build_network("test_resnet", labels=3, hidden_features=hidden)
    data = export_network(network, size=64, activation=activation)
    runtime = load_runtime(data)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 1, 64, 64), dtype=np.uint8)
    found = runtime.run(pixels)
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(pixels))
    logits = wanted.logits.numpy()
    if activation is Activation.SOFTMAX:
        # What is added to every logit alike is taken away.
        logits = logits - logits.mean(1, keepdims=True)
        assert np.allclose(found.maps.sum(1), 0, atol=1e-4)
    assert np.allclose(found.logits, logits, atol=1e-4)
    assert np.allclose(found.embedding, wanted.embedding.numpy(), atol=1e-4)
    bias = found.logits - found.maps.mean((2, 3))
    assert np.allclose(bias, bias[0], atol=1e-4)
    assert np.array_equal(runtime.run(pixels[:1]).logits.shape, (1, 3))


def test_a_graph_that_differs_is_refused() -> None:
    torch.manual_seed(0)
    network = build_network("test_resnet", labels=2)
    data = export_network(network, size=64, activation=Activation.SOFTMAX)
    torch.nn.init.normal_(network.head.weight)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 1, 64, 64), dtype=np.uint8)
    with pytest.raises(ChestxError, match=r"export: expected logits within 0\.0001 of torch"):
        check_parity(_Served(network, Activation.SOFTMAX).eval(), data, pixels)
