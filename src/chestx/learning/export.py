"""A network as the graph that runs: normalisation, logits, embedding and maps in one pass."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import torch
from torch import Tensor, nn

from chestx.domain import Activation, ChestxError
from chestx.learning.backbones import Network
from chestx.learning.half_weights import store_half
from chestx.models.runtime import Outputs, load_runtime
from chestx.shapes import Float32, UInt8

PARITY = 1e-4
"""Largest difference of a number between torch and the graph, relative to the largest number."""

HALF_PARITY = 5e-3
"""The same where weights are stored as float16, which rounds them to one part in 2,000.

Well below what is allowed between the graph and the weights beside it, which are rounded apart.
"""


class _Served(nn.Module):
    """What runs in place of the network: its maps are no longer thrown away.

    Softmax does not see what is added to every logit alike. The head is centred, so that a
    map means evidence for its label against the others.
    """

    def __init__(self, network: Network, activation: Activation) -> None:
        super().__init__()
        self.network = network
        self.weight: Tensor
        self.bias: Tensor
        weight, bias = network.head.weight.detach(), network.head.bias.detach()
        if activation is Activation.SOFTMAX:
            weight, bias = weight - weight.mean(0), bias - bias.mean()
        self.register_buffer("weight", weight[:, :, None, None].clone())
        self.register_buffer("bias", bias.clone())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network.extract(pixels)
        maps = nn.functional.conv2d(features, self.weight)
        embedding = features.mean(dim=(2, 3))
        return maps.mean(dim=(2, 3)) + self.bias, embedding, maps


def export_network(
    network: Network, *, size: int, activation: Activation, half_weights: bool = False
) -> bytes:
    """The network as ONNX: ``pixels`` in; ``logits``, ``embedding`` and ``cams`` out.

    The batch is dynamic. The graph is run on OpenVINO and held against torch.

    Args:
        network: is left in evaluation mode.
        size: of its images.
        activation: of its answers.
        half_weights: store them as float16, which halves the file; it computes in float32.

    Raises:
        ChestxError: the graph gives other numbers than torch.
    """
    served = _Served(network.eval().cpu().float(), activation).eval()
    example = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8)
    data = _export(served, example)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, size=(3, 1, size, size), dtype=np.uint8)
    check_parity(served, data, pixels)
    if half_weights:
        data = store_half(data)
        check_parity(served, data, pixels, limit=HALF_PARITY)
    return data


def _export(served: nn.Module, example: Tensor) -> bytes:
    """Without what the exporter prints and warns of."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    sink = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(sink), redirect_stderr(sink):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            served,
            (example,),
            input_names=["pixels"],
            output_names=["logits", "embedding", "cams"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1, max=4096)}},
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    data: bytes = program.model_proto.SerializeToString(deterministic=True)
    return data


@torch.no_grad()
def check_parity(
    served: nn.Module,
    data: bytes,
    pixels: UInt8[np.ndarray, "batch 1 size size"],
    *,
    limit: float = PARITY,
) -> None:
    """Holds the graph against torch.

    Raises:
        ChestxError: they differ by more than the limit.
    """
    wanted = Outputs(*(part.numpy() for part in served(torch.from_numpy(pixels))))
    found = load_runtime(data).run(pixels)
    for name in ("logits", "embedding", "maps"):
        gap = _measure_gap(getattr(wanted, name), getattr(found, name))
        if not gap <= limit:
            raise ChestxError(
                f"export: expected {name} within {limit:g} of torch, got a difference of {gap:.3g}"
            )


def _measure_gap(wanted: Float32[np.ndarray, ...], found: Float32[np.ndarray, ...]) -> float:
    return float(np.abs(wanted - found).max() / max(float(np.abs(wanted).max()), 1e-6))
