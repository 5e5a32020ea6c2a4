"""What one step of training took from the system is kept for the next."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of glibc's ``mallopt``."""

_GROWTH_BYTES = 256 << 20
_DEFAULTS = {_TRIM_THRESHOLD: 128 << 10, _TOP_PAD: 128 << 10, _MMAP_MAX: 65536}


@contextmanager
def keep_memory() -> Iterator[None]:
    """While it lasts, freed memory stays with the process.

    A step frees hundreds of large arrays and the next one asks for them again. glibc gives each
    back to the system and gets fresh pages, which the system fills with zeros first: a quarter
    of the time of a step on a CPU at 160 pixels. Other libraries of C are left alone.
    """
    try:
        libc: ctypes.CDLL | None = ctypes.CDLL(None)
    except (OSError, TypeError):  # There is no such handle on Windows.
        libc = None
    mallopt, trim = getattr(libc, "mallopt", None), getattr(libc, "malloc_trim", None)
    if mallopt is None or trim is None:
        yield
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
    mallopt(_TOP_PAD, _GROWTH_BYTES)
    try:
        yield
    finally:
        for parameter, value in _DEFAULTS.items():
            mallopt(parameter, value)
        trim(0)
