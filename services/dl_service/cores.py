"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["usable_cores"]

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """The cores that this process may run on, or fewer where its container is given less time than those have.

    Docker's ``cpus`` is such a quota: the container sees every core of the host and may use some of their time.

    Args:
        cgroup: Where the container's control groups are mounted; version 2 is looked for first, then version 1.
    """
    cores, quota = len(os.sched_getaffinity(0)), _quota_of(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota_of(cgroup: Path) -> float | None:
    """CPU time for each moment of real time; None: as much as there is."""
    try:
        quota, period = _read_quota(cgroup)
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None  # `max`, or no such file


def _read_quota(cgroup: Path) -> tuple[int, int]:
    newer = cgroup / "cpu.max"
    if newer.exists():
        quota, period = newer.read_text().split()
        return int(quota), int(period)
    older = cgroup / "cpu"
    return int((older / "cpu.cfs_quota_us").read_text()), int((older / "cpu.cfs_period_us").read_text())
