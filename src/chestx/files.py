"""Files that are written whole or not at all, and never through somebody's link."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def open_without_following(path: str, flags: int) -> int:
    """Opener for ``open`` to which a link in the place of a file is an error, not a way out."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file in place; not for one that a reader may open meanwhile."""
    with open(path, "wb", opener=open_without_following) as file:
        file.write(data)


@contextmanager
def write_whole(path: Path) -> Iterator[IO[bytes]]:
    """Writes a whole file or none: a reader never sees half of it."""
    # A name that is nobody's: a file called x.part beside x may be a person's.
    partial = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(partial, "xb", opener=open_without_following) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """A whole text file in UTF-8, or none; what is no Unicode is written as escapes."""
    with write_whole(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
