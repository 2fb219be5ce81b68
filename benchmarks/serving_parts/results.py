"""What was measured, over all rounds, and the numbers that are made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from benchmarks.serving_parts.limit import Limit
from benchmarks.serving_parts.measure import Cell, Turn

__all__ = ["NetworkResults", "Spread"]


@dataclass(frozen=True)
class Spread:
    """A number over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of at least one value."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        def short(value: float) -> str:
            return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

        if self.low == self.high:
            return short(self.median)
        return f"{short(self.median)} ({short(self.low)}-{short(self.high)})"


@dataclass
class NetworkResults:
    """Everything about one network.

    Attributes:
        turns: By row and then by round.
        limits: By arrangement and then by round.
        not_run: Rows that were not measured, or failed in some round, and why.
        ready_s: From process start to readiness, one number a start.
        drift_share: What drift features add to the classifier's inference, by batch size.
    """

    side: int
    turns: dict[str, dict[int, Turn]] = field(default_factory=dict)
    limits: dict[str, dict[int, Limit]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    ready_s: list[float] = field(default_factory=list)
    drift_share: dict[int, float] = field(default_factory=dict)

    def clients(self, row: str) -> list[int]:
        """Numbers of clients that a row was measured with."""
        return sorted({cell.clients for turn in self.turns.get(row, {}).values() for cell in turn.cells})

    def spread(self, row: str, clients: int, value: Callable[[Cell], float]) -> Spread:
        """A row's number over the rounds."""
        return Spread.of([value(cell) for _, cell in self._cells(row, clients)])

    def compare(
        self, row: str, other: str, clients: int, value: Callable[[Cell], float], how: Callable[[float, float], float]
    ) -> float | None:
        """The median over rounds of ``how(row's number, other's number)``, each pair from the same round."""
        others = dict(self._cells(other, clients))
        pairs = [(cell, others[turn]) for turn, cell in self._cells(row, clients) if turn in others]
        return median(how(value(mine), value(theirs)) for mine, theirs in pairs) if pairs else None

    def compare_with_limit(self, row: str, clients: int) -> tuple[float, float] | None:
        """Throughput and CPU of a row as shares of the strongest arrangement's; medians over rounds."""
        if not (name := self.strongest()):
            return None
        best = self.limits[name]
        pairs = [(cell, best[turn]) for turn, cell in self._cells(row, clients) if turn in best]
        if not pairs:
            return None
        speed = median(cell.requests_per_s / limit.images_per_s for cell, limit in pairs)
        return speed, median(cell.cpu_ms / limit.cpu_ms for cell, limit in pairs)

    def strongest(self) -> str:
        """The arrangement of the limit with the highest throughput; empty if there is none."""
        speeds = {name: median(limit.images_per_s for limit in rounds.values()) for name, rounds in self.limits.items()}
        return max(speeds, key=lambda name: speeds[name], default="")

    def _cells(self, row: str, clients: int) -> Iterator[tuple[int, Cell]]:
        for turn_number, turn in self.turns.get(row, {}).items():
            for cell in turn.cells:
                if cell.clients == clients:
                    yield turn_number, cell
