"""The rule for versions and runs: the newest of each kind stay, the young ones stay, and what is pointed at stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from onsight.config import VersionRetention

__all__ = ["Dated", "outdated"]


@dataclass(frozen=True, order=True)
class Dated:
    """Something that grows old.

    Attributes:
        kind: The newest are counted within it.
    """

    kind: str
    created_at: datetime
    name: str


def outdated(things: Iterable[Dated], rule: VersionRetention, kept: Collection[str], now: datetime) -> list[str]:
    """The names of what may go, the oldest of each kind first.

    Args:
        things: Of any kinds.
        rule: How many of each kind, and how young, stay.
        kept: Names that stay whatever their age; they count among the newest of their kind.
        now: With its zone.
    """
    by_kind: dict[str, list[Dated]] = defaultdict(list)
    for thing in sorted(things):
        by_kind[thing.kind].append(thing)
    before = now - timedelta(days=rule.days)
    return [
        thing.name
        for kind in by_kind.values()
        for thing in kind[: -rule.keep_newest]
        if thing.created_at < before and thing.name not in kept
    ]
