"""The counts of every scenario: a table for people, JSON for the record, and the claims that hold for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.ledger import Ledger
from tests.faults.load import Load

_COLUMNS = ("scenario", "seconds", "answered", "refused", "broken", "wrong", "unexplained", "missing", "doubled")


@dataclass
class Counts:
    """One scenario.

    Attributes:
        broken: Requests without an answer while a process was being killed.
        unexplained: All other failures.
    """

    scenario: str
    seconds: float
    answered: int
    versions: dict[int, int]
    refused: dict[str, int]
    broken: int
    wrong: int
    unexplained: int
    missing: int
    doubled: int
    slowest_s: float
    ledger: dict[str, int]
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: str, seconds: float, load: Load, ledger: Ledger, allowed: Iterable[str]) -> Counts:
        """Sums a scenario up; ``allowed`` are the codes of the refusals that its page promises."""
        known = set(allowed)
        surprising = sum(n for (status, code), n in load.refused.items() if status < 429 or code not in known)
        unexplained = load.unexplained()
        return cls(
            scenario=scenario,
            seconds=round(seconds, 1),
            answered=len(load.acknowledged),
            versions=dict(load.versions),
            refused={f"{status} {code}": n for (status, code), n in load.refused.items()},
            broken=len(load.broken) - len(unexplained),
            wrong=len(load.wrong) + ledger.different,
            unexplained=len(unexplained) + surprising + ledger.strange,
            missing=max(ledger.missing, ledger.missing_calls),
            doubled=ledger.doubled,
            slowest_s=round(load.slowest_s, 2),
            ledger=asdict(ledger),
        )

    def assert_sound(self, *, may_miss: bool = False) -> None:
        """No wrong answer, no unexplained failure, none doubled and none missing."""
        assert (self.wrong, self.unexplained, self.doubled) == (0, 0, 0), self
        assert may_miss or self.missing == 0, self


def table(counts: Sequence[Counts]) -> str:
    """Lines for a terminal."""
    rows = [_COLUMNS, *(tuple(_cell(one, column) for column in _COLUMNS) for one in counts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def write(path: Path, counts: Sequence[Counts]) -> None:
    """All there is, as JSON."""
    path.write_text(json.dumps([asdict(one) for one in counts], indent=2) + "\n")


def _cell(counts: Counts, column: str) -> str:
    value = getattr(counts, column)
    return " ".join(f"{n}x {name}" for name, n in value.items()) or "0" if isinstance(value, dict) else str(value)
