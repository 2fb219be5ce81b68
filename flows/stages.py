"""Says which stage of a flow runs, and keeps how long each one took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from rich.console import Console

__all__ = ["StageTiming", "Stages"]


@dataclass(frozen=True)
class StageTiming:
    """One stage and its wall time in seconds."""

    name: str
    wall_s: float


class Stages:
    """The stages of one run, in order.

    Args:
        console: Where progress goes.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        # From the process' start, so that the time before the first stage is seen too.
        self._started_at = psutil.Process().create_time()
        self._timings: list[StageTiming] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and say that it runs; a stage that fails is timed too."""
        self._console.print(f"[bold cyan]==>[/] {name}", highlight=False)
        start_s = time.monotonic()
        try:
            yield
        finally:
            self._timings.append(StageTiming(name, time.monotonic() - start_s))

    def say(self, message: str) -> None:
        """Print one line about the stage that runs."""
        self._console.print(f"    {message}", highlight=False, markup=False, soft_wrap=True)

    def timings(self) -> tuple[StageTiming, ...]:
        """Every stage so far; what happened between stages (start-up, bookkeeping) is the last row."""
        total_s = time.time() - self._started_at
        between_s = total_s - sum(timing.wall_s for timing in self._timings)
        return (*self._timings, StageTiming("start-up and bookkeeping", between_s))
