"""What one step of training took from the system is kept for the next."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4

_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 256 << 20}
_USUAL = {
    _MMAP_MAX: 65536,
    _TOP_PAD: 128 << 10,
    # Once set, glibc no longer adapts these two. It would have raised them so far for a program
    # that frees large arrays.
    _MMAP_THRESHOLD: 32 << 20,
    _TRIM_THRESHOLD: 64 << 20,
}

_lock = threading.Lock()
_keepers = 0


@contextmanager
def keep_memory() -> Iterator[None]:
    """While it lasts, freed memory stays with the process, other threads' included.

    A step frees hundreds of large arrays and the next one asks for them again. glibc gives each
    back to the system and gets fresh pages, which the system fills with zeros first: a quarter
    of the time of a step on a CPU at 160 pixels. The process stays as large as it ever was;
    when the last of those who keep it is done, what is free at the end is given back.
    Other libraries of C are left alone.
    """
    try:
        libc: ctypes.CDLL | None = ctypes.CDLL(None)
    except (OSError, TypeError):  # There is no such handle on Windows.
        libc = None
    mallopt, trim = getattr(libc, "mallopt", None), getattr(libc, "malloc_trim", None)
    if mallopt is None or trim is None:
        yield
        return
    global _keepers
    with _lock:
        _keepers += 1
        for parameter, value in _KEEPING.items():
            mallopt(parameter, value)
    try:
        yield
    finally:
        with _lock:
            _keepers -= 1
            if not _keepers:
                for parameter, value in _USUAL.items():
                    mallopt(parameter, value)
                trim(0)
