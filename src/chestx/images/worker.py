"""Decoding in processes of their own, each of which can be killed alone.

A hostile or broken file can make a C library crash, loop or eat the memory. So a file is
opened, decoded, judged and made small in a child process under limits of memory and time;
what comes back over a pipe is the small model input, a small preview and the header. A
child that dies takes one file with it and is replaced.

Frames on the pipe are a length and JSON, followed by raw bytes: nothing is unpickled.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import logging
import os
import select
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

from chestx.domain import (
    Denoise,
    ImageHeader,
    InputSpec,
    Limits,
    Quality,
    ScopeReason,
    UnreadableImageError,
)
from chestx.shapes import UInt8

log = logging.getLogger(__name__)

_LENGTH = struct.Struct(">I")
_MAX_JSON = 16 * 1024 * 1024
_GRACE_S = 5.0
"""How much longer than the child's own alarm the parent waits before it kills it."""

_START_S = 60.0
_MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    # What one picture took is kept for the next: pages fresh from the system are zeroed
    # first, half of the system's time for a large radiograph.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""Settings of glibc; other libraries of C pass them over."""

_SINGLE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is made of a file.

    Attributes:
        input: preprocessing of the model.
        preview_size: long side of the preview in pixels, 0 for none.
        limits: what the file may cost.
        pixel_digest: whether a checksum of the shown pixels is made.
        reduced_jpeg2000: whether JPEG 2000 is decoded only as fine as input and preview need.
    """

    input: InputSpec
    preview_size: int
    limits: Limits
    pixel_digest: bool = False
    reduced_jpeg2000: bool = False

    @property
    def least_side(self) -> int:
        """Shorter side of the decoded picture that will do; 0 for all that there is.

        Twice the input, so that it is still a mean of what was decoded.
        """
        return max(2 * self.input.size, self.preview_size) if self.reduced_jpeg2000 else 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreparedImage:
    """One file, ready for the model.

    Attributes:
        sha256: of the file's bytes.
        header: what the file says of itself.
        quality: what its pixels tell.
        pixels: model input.
        preview: the radiograph as shown, small; None where not asked for.
        seconds, cpu_seconds: stage -> wall and processor time in the child.
        pixel_sha256: of the shown pixels at full size; empty where not asked for.
    """

    sha256: str
    header: ImageHeader
    quality: Quality
    pixels: UInt8[np.ndarray, "size size"]
    preview: UInt8[np.ndarray, "preview_height preview_width"] | None
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    pixel_sha256: str = ""


class PreparationError(UnreadableImageError):
    """A file that could not be prepared, with the checksum of its bytes where they were read."""

    def __init__(self, reason: str, *, header: ImageHeader | None = None, sha256: str = "") -> None:
        super().__init__(reason, header=header)
        self.sha256 = sha256


def prepare_image(source: str | bytes, preparation: Preparation) -> PreparedImage:
    """Reads, judges and preprocesses one image in this process.

    Args:
        source: a path, or the bytes of a file.
        preparation: what is made of it.

    Raises:
        PreparationError: the file cannot become a radiograph.
    """
    start = _read_clocks()
    data, sha256 = _read_source(source, preparation.limits)
    return _prepare_bytes(data, sha256, preparation, start=start)


def _read_clocks() -> tuple[float, float]:
    """Wall and processor time; the thread's own, since images may be prepared in several."""
    return time.perf_counter(), time.thread_time()


def _read_source(source: str | bytes, limits: Limits) -> tuple[bytes, str]:
    from chestx.images.reading import load_bytes

    try:
        data = source if isinstance(source, bytes) else load_bytes(source, limits=limits)
    except UnreadableImageError as error:
        raise PreparationError(str(error)) from error
    return data, hashlib.sha256(data).hexdigest()


def _prepare_bytes(
    data: bytes, sha256: str, preparation: Preparation, *, start: tuple[float, float]
) -> PreparedImage:
    from chestx.images.preprocessing import preprocess, resize_to_fit
    from chestx.images.quality import assess_quality
    from chestx.images.reading import decode_radiograph

    try:
        radiograph = decode_radiograph(
            data, limits=preparation.limits, least_side=preparation.least_side
        )
    except UnreadableImageError as error:
        raise PreparationError(str(error), header=error.header, sha256=sha256) from error
    decoded = _read_clocks()
    pixels = preprocess(radiograph.pixels, preparation.input)
    quality = assess_quality(radiograph)
    size = preparation.preview_size
    preview = resize_to_fit(radiograph.pixels, size) if size else None
    digest = ""
    if preparation.pixel_digest:
        digest = hashlib.sha256(np.ascontiguousarray(radiograph.pixels).data).hexdigest()
    done = _read_clocks()
    return PreparedImage(
        sha256=sha256,
        header=radiograph.header,
        quality=quality,
        pixels=pixels,
        preview=preview,
        seconds={"read": decoded[0] - start[0], "preprocess": done[0] - decoded[0]},
        cpu_seconds={"read": decoded[1] - start[1], "preprocess": done[1] - decoded[1]},
        pixel_sha256=digest,
    )


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one file may cost its child process.

    Attributes:
        memory_mb: address space of the child in MiB.
        timeout_s: time for one file.
    """

    memory_mb: int = 3072
    timeout_s: int | float = 60.0


class Worker:
    """One child process; used by one thread at a time. It is started when first needed."""

    def __init__(self, preparation: Preparation, limits: WorkerLimits | None = None) -> None:
        self._preparation = preparation
        self._limits = limits or WorkerLimits()
        self._process: subprocess.Popen[bytes] | None = None
        # Of the file in work: known before it is decoded, and so before the child can die of it.
        self._sha256 = ""

    @property
    def process_id(self) -> int | None:
        """Of the child, None before its first file."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts the child ahead of its first file, without waiting for it."""
        if self._process is None:
            self._process = _start_process(self._preparation, self._limits)

    def prepare(self, source: str | bytes) -> PreparedImage:
        """Has one file prepared in the child.

        Raises:
            PreparationError: the file cannot become a radiograph, or the child died of it.
        """
        if self._process is not None and self._process.poll() is not None:
            # It ended between two files: the next one is not to blame.
            self.close()
        fresh = self._process is None
        self._sha256 = ""
        try:
            self.start()
            return self._exchange(source, fresh=fresh)
        except PreparationError:
            raise
        except (OSError, EOFError, TimeoutError) as error:
            if self._process is None:
                raise PreparationError("no process could be started to read it") from None
            raise PreparationError(self._bury(error), sha256=self._sha256) from None
        except BaseException:
            # Half an answer in the pipe would pass for that of the next file.
            self.close()
            raise

    def kill(self) -> None:
        """Ends the child at once, also from another thread; what it had in work fails."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Ends the child."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            # What the child did not take any more is lost with it.
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _exchange(self, source: str | bytes, *, fresh: bool) -> PreparedImage:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"path": source} if isinstance(source, str) else {"bytes": len(source)}
        payload = b"" if isinstance(source, str) else source
        deadline = time.monotonic() + self._limits.timeout_s + _GRACE_S + (_START_S if fresh else 0)
        _write_frame(self._process.stdin, request, payload)
        message = _read_message(self._process.stdout, deadline)
        if "digest" in message:
            self._sha256 = message["digest"]
            message = _read_message(self._process.stdout, deadline)
        return _read_answer(self._process.stdout, message, deadline)

    def _bury(self, error: Exception) -> str:
        """Ends what is left of the child and says in words what it died of."""
        assert self._process is not None
        process = self._process
        if isinstance(error, TimeoutError):
            process.kill()
        try:
            code = process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self.close()
        if isinstance(error, TimeoutError) or code == -signal.SIGALRM:
            return (
                f"expected a file that can be read in {self._limits.timeout_s:g} s, "
                "got one that takes longer"
            )
        if code in (-signal.SIGKILL, -signal.SIGABRT) or code > 0:
            return (
                "expected a file that can be decoded, got one whose decoder gave up "
                f"({_name_end(code)}; it may have needed more than "
                f"{self._limits.memory_mb} MiB of memory)"
            )
        return (
            "expected a file that can be decoded, got one whose decoder crashed "
            f"({_name_end(code)})"
        )


def _name_end(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _start_process(preparation: Preparation, limits: WorkerLimits) -> subprocess.Popen[bytes]:
    setting = {
        "input": asdict(preparation.input),
        "preview_size": preparation.preview_size,
        "pixel_digest": preparation.pixel_digest,
        "reduced_jpeg2000": preparation.reduced_jpeg2000,
        "limits": asdict(preparation.limits),
        "memory_mb": limits.memory_mb,
        "timeout_s": limits.timeout_s,
    }
    environment = {**os.environ, **_MEMORY}
    environment |= dict.fromkeys(_SINGLE_THREAD, "1")
    return subprocess.Popen(
        # -P: what lies in the current folder must not pass for one of our libraries.
        [sys.executable, "-P", "-m", "chestx.images.worker", json.dumps(setting)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # What C libraries print of a broken file is repeated by the reason, or of no use.
        stderr=subprocess.DEVNULL,
        env=environment,
        # An interrupt from the terminal goes to the parent alone, which ends its children.
        start_new_session=True,
    )


# ---- the pipe ------------------------------------------------------------------------


def _write_frame(pipe: IO[bytes], message: dict[str, Any], payload: bytes = b"") -> None:
    text = json.dumps(message).encode("ascii")
    pipe.write(_LENGTH.pack(len(text)) + text)
    pipe.write(payload)
    pipe.flush()


def _read_message(pipe: IO[bytes], deadline: float) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(_read_by(pipe, _LENGTH.size, deadline))
    if length > _MAX_JSON:
        raise EOFError
    message: dict[str, Any] = json.loads(_read_by(pipe, length, deadline))
    return message


def _read_answer(pipe: IO[bytes], message: dict[str, Any], deadline: float) -> PreparedImage:
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


# ---- the child -----------------------------------------------------------------------


def _limit_resources(memory_mb: int) -> None:
    import resource

    memory = memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The child only reads; nothing that a decoder is tricked into can fill the disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def serve(setting: dict[str, Any], requests: IO[bytes], answers: IO[bytes]) -> None:
    """Prepares one file after the other until the parent closes the pipe.

    Args:
        setting: what :class:`Worker` was made with, as JSON values.
        requests, answers: the two pipes.
    """
    import cv2

    cv2.setNumThreads(1)
    _limit_resources(setting["memory_mb"])
    preparation = Preparation(
        input=InputSpec(**{**setting["input"], "denoise": Denoise(setting["input"]["denoise"])}),
        preview_size=setting["preview_size"],
        pixel_digest=setting["pixel_digest"],
        reduced_jpeg2000=setting["reduced_jpeg2000"],
        limits=Limits(**setting["limits"]),
    )
    while head := requests.read(_LENGTH.size):
        (length,) = _LENGTH.unpack(head)
        request = json.loads(requests.read(length))
        source = request["path"] if "path" in request else requests.read(request["bytes"])
        # No handler: where a C library loops, the alarm ends the process itself.
        signal.setitimer(signal.ITIMER_REAL, setting["timeout_s"])
        try:
            start = _read_clocks()
            data, sha256 = _read_source(source, preparation.limits)
            _write_frame(answers, {"digest": sha256})
            image = _prepare_bytes(data, sha256, preparation, start=start)
        except PreparationError as error:
            header = _header_to_json(error.header) if error.header else None
            answer = {"reason": str(error), "sha256": error.sha256, "header": header}
            _write_frame(answers, answer)
        else:
            _write_image(answers, image)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            # The largest of them must not stay until the next file has been read.
            source = data = b""


def _write_image(answers: IO[bytes], image: PreparedImage) -> None:
    message = {
        "sha256": image.sha256,
        "header": _header_to_json(image.header),
        "quality": dataclasses.asdict(image.quality)
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
    _write_frame(answers, message, payload)


if __name__ == "__main__":
    # A library that prints must not speak into the pipe of the answers.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(json.loads(sys.argv[1]), sys.stdin.buffer, pipe)
