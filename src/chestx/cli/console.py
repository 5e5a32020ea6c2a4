"""What the commands say, and where: results to standard output, the rest to standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class Advance(Protocol):
    """Moves a progress bar by one image."""

    def __call__(self, *, failed: bool = False) -> None: ...


def say(text: str) -> None:
    """One line of result to standard output; where nobody listens, nothing."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(f"{make_printable(text)}\n")
        sys.stdout.flush()
    except OSError:
        # The reader went away (`| head`) or the disk is full. What was asked for is done, and
        # its exit code says more than a line that nobody reads.
        discard_output()


def say_error(text: str) -> None:
    """One line to standard error."""
    if sys.stderr is not None:
        sys.stderr.write(f"chestx: {make_printable(' '.join(text.split()))}\n")


def discard_output() -> None:
    """Sends what is still said to standard output nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_standard_input() -> bytes:
    """All of it; nothing where it is closed."""
    return b"" if sys.stdin is None else sys.stdin.buffer.read()


def make_printable(text: str) -> str:
    """Escapes what would steer a terminal or cannot be encoded; file names may hold anything."""
    return "".join(
        character
        if character == "\n" or (character.isprintable() and not _is_bidi_control(character))
        else ascii(character)[1:-1]
        for character in text
    )


def _is_bidi_control(character: str) -> bool:
    return "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"


def make_console() -> Console:
    """A rich console on standard output."""
    from rich.console import Console

    # A pipe has no width; paths must not be broken for one that was made up.
    width = None if sys.stdout is not None and sys.stdout.isatty() else 200
    return Console(highlight=False, width=width)


@contextmanager
def show_progress(total: int, *, quiet: bool) -> Iterator[Advance]:
    """A bar with rate and time left on a terminal; nothing where output is piped."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda *, failed=False: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failures]}"),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=total, rate="", failures="")
        start, done, failures = time.monotonic(), 0, 0

        def advance(*, failed: bool = False) -> None:
            nonlocal done, failures
            done, failures = done + 1, failures + failed
            rate = done / max(time.monotonic() - start, 1e-3)
            progress.update(
                task,
                advance=1,
                rate=f"{rate:.1f} images/s",
                failures=f"{failures} failed" if failures else "",
            )

        yield advance


class PlainFormatter(logging.Formatter):
    """One line that cannot steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The level in a word and the message."""
        return f"chestx: {record.levelname.lower()}: {make_printable(record.getMessage())}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line. Paths and DICOM text never reach it: they may name a patient."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure_logging(*, as_json: bool) -> None:
    """Warnings in plain words, or every event as JSON lines, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    logger = logging.getLogger("chestx")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if as_json else logging.WARNING)
    logger.propagate = False
