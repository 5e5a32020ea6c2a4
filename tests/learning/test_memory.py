"""Freed memory stays while a run lasts, and is given back after it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from chestx.learning.memory import keep_memory

pytestmark = pytest.mark.torch

_ARRAYS, _BYTES = 16, 8 << 20


def read_resident_mb() -> float:
    text = Path("/proc/self/statm").read_text()
    return int(text.split()[1]) * 4096 / 2**20


def touch_arrays() -> None:
    arrays = [np.ones(_BYTES, dtype=np.uint8) for _ in range(_ARRAYS)]
    assert all(array[-1] for array in arrays)


needs_glibc = pytest.mark.skipif(
    not Path("/proc/self/statm").is_file() or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="only glibc on Linux keeps and gives back memory on demand",
)


@needs_glibc
def test_memory_stays_while_it_lasts_and_is_given_back() -> None:
    before = read_resident_mb()
    with keep_memory():
        touch_arrays()
        kept = read_resident_mb()
    after = read_resident_mb()
    whole = _ARRAYS * _BYTES / 2**20
    assert kept - before > whole / 2
    assert kept - after > whole / 2


@needs_glibc
def test_the_last_one_out_gives_it_back() -> None:
    with keep_memory():
        with keep_memory():
            touch_arrays()
        kept = read_resident_mb()
    assert kept - read_resident_mb() > _ARRAYS * _BYTES / 2**20 / 2
