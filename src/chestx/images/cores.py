"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def count_usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Processor cores that this process may use: by its affinity and its control group.

    A container is often granted a share of a machine's cores by a quota that the
    affinity does not show.

    Args:
        cgroup: where the control group's files are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _read_cpu_quota(cgroup)
    return max(1, min(cores or 1, math.ceil(quota)) if quota else cores or 1)


def _read_cpu_quota(cgroup: Path) -> float | None:
    """Cores that the quota grants, None where there is none (cgroup version 2, then 1)."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        quota = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return quota if quota > 0 else None
