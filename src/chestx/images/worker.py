"""Decoding in processes of their own, each of which can be killed alone.

A hostile or broken file can make a C library crash, loop or eat the memory. So a file is
opened, decoded, judged and made small in a child process under limits of memory and time;
what comes back over a pipe is the small model input, a small preview and the header. A
child that dies takes one file with it and is replaced.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any

from chestx.domain import Denoise, InputSpec, Limits
from chestx.images.preparation import (
    Preparation,
    PreparationError,
    PreparedImage,
    prepare_bytes,
    read_clocks,
    read_source,
)
from chestx.images.worker_pipe import (
    LENGTH,
    read_answer,
    read_message,
    write_frame,
    write_image,
    write_refusal,
)

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
        if isinstance(source, str):
            source = _anchor(source)
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
        write_frame(self._process.stdin, request, payload)
        message = read_message(self._process.stdout, deadline)
        if "digest" in message:
            self._sha256 = message["digest"]
            message = read_message(self._process.stdout, deadline)
        return read_answer(self._process.stdout, message, deadline)

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


def _anchor(path: str) -> str:
    """The path from the root: the child keeps the working folder that it was started in.

    Not by ``os.path.abspath``, which takes the folder above a link for the one it stands in.

    Raises:
        PreparationError: there is no working folder any more.
    """
    try:
        return os.path.join(os.getcwd(), path)
    except OSError as error:
        if os.path.isabs(path):
            return path
        raise PreparationError(f"cannot be read: the working folder: {error.strerror}") from None


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


def _limit_resources(memory_mb: int) -> None:
    import resource

    memory = memory_mb * 1024 * 1024
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        # A batch system may allow less, and no process may raise that.
        memory = min(memory, most)
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
    while head := requests.read(LENGTH.size):
        (length,) = LENGTH.unpack(head)
        request = json.loads(requests.read(length))
        source = request["path"] if "path" in request else requests.read(request["bytes"])
        # No handler: where a C library loops, the alarm ends the process itself.
        signal.setitimer(signal.ITIMER_REAL, setting["timeout_s"])
        try:
            start = read_clocks()
            data, sha256 = read_source(source, preparation.limits)
            write_frame(answers, {"digest": sha256})
            image = prepare_bytes(data, sha256, preparation, start=start)
        except PreparationError as error:
            write_refusal(answers, error)
        else:
            write_image(answers, image)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            # The largest of them must not stay until the next file has been read.
            source = data = b""


if __name__ == "__main__":
    # A library that prints must not speak into the pipe of the answers.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(json.loads(sys.argv[1]), sys.stdin.buffer, pipe)
