"""Where the time of a run goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Wall and processor time by stage, summed over threads and child processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._cpu_seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds the time of the block to a stage, also where the block raises."""
        start, cpu_start = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start, time.thread_time() - cpu_start)

    def add(self, stage: str, seconds: float, cpu_seconds: float) -> None:
        """Adds time that was measured elsewhere."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
            self._cpu_seconds[stage] = self._cpu_seconds.get(stage, 0.0) + cpu_seconds

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> wall time so far, waiting included."""
        with self._lock:
            return dict(self._seconds)

    @property
    def cpu_seconds(self) -> dict[str, float]:
        """Stage -> processor time so far of the threads that ran it.

        The model computes on threads of its runtime, so ``infer`` holds hardly any.
        """
        with self._lock:
            return dict(self._cpu_seconds)
