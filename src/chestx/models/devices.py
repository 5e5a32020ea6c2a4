"""Where onnxruntime computes: its execution providers, asked for by name and never fallen from.

onnxruntime leaves out a provider that it cannot start and computes on the processor instead,
with a line in its log. Here that is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any

from chestx.domain import Precision, UsageError


class Device(StrEnum):
    """What a network is computed on."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


Provider = tuple[str, dict[str, Any]]

_CPU: Provider = ("CPUExecutionProvider", {})
# Without TF32, whose 10 bits of mantissa are no single precision.
_CUDA: Provider = ("CUDAExecutionProvider", {"use_tf32": "0"})
_TENSORRT: Provider = ("TensorrtExecutionProvider", {"trt_fp16_enable": "False"})
_PROVIDERS: dict[Device, list[Provider]] = {
    Device.CPU: [_CPU],
    Device.CUDA: [_CUDA, _CPU],
    # TensorRT leaves what it cannot compute to CUDA.
    Device.TENSORRT: [_TENSORRT, _CUDA, _CPU],
}


def choose_providers(
    device: Device, installed: Collection[str], *, precision: Precision
) -> list[Provider]:
    """Execution providers for a device, the wanted one first.

    Args:
        device: that was asked for.
        installed: providers that this onnxruntime was built with.
        precision: of the graph.

    Raises:
        UsageError: the provider is not installed, or a variant is asked for on a graphics
            card, where nobody compared it with f32.
    """
    providers = _PROVIDERS[device]
    if device is not Device.CPU and precision is not Precision.F32:
        raise UsageError(
            f"device {device}: expected precision f32, got {precision}; a variant is kept for "
            "what it answered on a processor"
        )
    wanted = providers[0][0]
    if wanted not in installed:
        raise UsageError(
            f"device {device}: expected an onnxruntime with {wanted}, this one has "
            f"{', '.join(installed)}; install onnxruntime-gpu in its place"
        )
    return providers


def check_started(device: Device, started: Sequence[str]) -> None:
    """Checks that a session computes where it was asked to.

    Args:
        device: that was asked for.
        started: providers of the session.

    Raises:
        UsageError: the provider could not be started.
    """
    wanted = _PROVIDERS[device][0][0]
    if wanted not in started:
        raise UsageError(
            f"device {device}: expected {wanted} to start, onnxruntime fell back to "
            f"{', '.join(started)}; see that the graphics card, its driver and the libraries of "
            f"{'CUDA' if device is Device.CUDA else 'CUDA and TensorRT'} are there"
        )
