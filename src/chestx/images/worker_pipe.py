"""What goes over the pipe between a process and the child that decodes for it.

Frames are a length and JSON, followed by raw bytes: nothing is unpickled.
"""

from __future__ import annotations

import base64
import json
import os
import select
import struct
import time
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from chestx.domain import ImageHeader, Quality, ScopeReason
from chestx.images.preparation import PreparationError, PreparedImage

LENGTH = struct.Struct(">I")
"""Of the JSON at the head of a frame, in bytes."""

_MAX_JSON = 16 * 1024 * 1024


def write_frame(pipe: IO[bytes], message: dict[str, Any], payload: bytes = b"") -> None:
    """Sends one frame."""
    text = json.dumps(message).encode("ascii")
    pipe.write(LENGTH.pack(len(text)) + text)
    pipe.write(payload)
    pipe.flush()


def read_message(pipe: IO[bytes], deadline: float) -> dict[str, Any]:
    """The JSON at the head of the next frame.

    Args:
        pipe: from the child.
        deadline: moment of the monotonic clock.

    Raises:
        EOFError: the pipe ended, or the frame is no frame.
        TimeoutError: the deadline passed.
    """
    (length,) = LENGTH.unpack(_read_by(pipe, LENGTH.size, deadline))
    if length > _MAX_JSON:
        raise EOFError
    message: dict[str, Any] = json.loads(_read_by(pipe, length, deadline))
    return message


def read_answer(pipe: IO[bytes], message: dict[str, Any], deadline: float) -> PreparedImage:
    """The image that follows the message of its answer.

    Raises:
        PreparationError: the answer is a refusal.
        EOFError, TimeoutError: as :func:`read_message`.
    """
    header = _header_from_json(message["header"])
    if "reason" in message:
        raise PreparationError(message["reason"], header=header, sha256=message["sha256"])
    assert header is not None
    pixels = _read_array(pipe, message["pixels"], deadline)
    preview = _read_array(pipe, message["preview"], deadline) if message["preview"] else None
    return PreparedImage(
        sha256=message["sha256"],
        header=header,
        quality=_quality_from_json(message["quality"]),
        pixels=pixels,
        preview=preview,
        seconds=message["seconds"],
        cpu_seconds=message["cpu_seconds"],
        pixel_sha256=message["pixel_sha256"],
    )


def _read_array(pipe: IO[bytes], shape: list[int], deadline: float) -> np.ndarray:
    height, width = shape
    data = _read_by(pipe, height * width, deadline)
    return np.frombuffer(data, np.uint8).reshape(height, width)


def _read_by(pipe: IO[bytes], count: int, deadline: float) -> bytes:
    """Exactly ``count`` bytes before a moment of the monotonic clock."""
    descriptor = pipe.fileno()
    # poll, since select refuses descriptors from 1024.
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    parts = bytearray()
    while len(parts) < count:
        wait = deadline - time.monotonic()
        if wait <= 0 or not poller.poll(wait * 1000):
            raise TimeoutError
        part = os.read(descriptor, count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _header_to_json(header: ImageHeader) -> dict[str, Any]:
    attributes = base64.b64encode(header.dicom_attributes).decode("ascii")
    return asdict(header) | {"dicom_attributes": attributes}


def _header_from_json(message: dict[str, Any] | None) -> ImageHeader | None:
    if message is None:
        return None
    spacing = message["imager_pixel_spacing_mm"]
    return ImageHeader(
        **{
            **message,
            "notes": tuple(message["notes"]),
            "imager_pixel_spacing_mm": tuple(spacing) if spacing else None,
            "dicom_attributes": base64.b64decode(message["dicom_attributes"]),
        }
    )


def _quality_from_json(message: dict[str, Any]) -> Quality:
    return Quality(
        tuple(ScopeReason(*reason) for reason in message["reasons"]),
        tuple(message["flags"]),
        message["measures"],
    )


def write_refusal(answers: IO[bytes], error: PreparationError) -> None:
    """Sends the answer that a file could not be prepared."""
    header = _header_to_json(error.header) if error.header else None
    write_frame(answers, {"reason": str(error), "sha256": error.sha256, "header": header})


def write_image(answers: IO[bytes], image: PreparedImage) -> None:
    """Sends the answer that a file was prepared, with its pixels."""
    message = {
        "sha256": image.sha256,
        "header": _header_to_json(image.header),
        "quality": asdict(image.quality)
        | {"reasons": [[reason.code, reason.sentence] for reason in image.quality.reasons]},
        "pixels": list(image.pixels.shape),
        "preview": None if image.preview is None else list(image.preview.shape),
        "seconds": image.seconds,
        "cpu_seconds": image.cpu_seconds,
        "pixel_sha256": image.pixel_sha256,
    }
    payload = image.pixels.tobytes()
    if image.preview is not None:
        payload += image.preview.tobytes()
    write_frame(answers, message, payload)
