"""The targets, and whether what was measured meets them. Comparisons are between neighbours of the same round."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.serving_parts.measure import Cell
from benchmarks.serving_parts.onsight_rows import ONSIGHT, ReferenceRow
from benchmarks.serving_parts.peer_rows import PEERS
from benchmarks.serving_parts.results import NetworkResults

__all__ = ["Verdict", "judge"]

_MOST, _SOME = 32, 8
_EXPLAINED, _UNLOGGED = "onsight, explain=both", "onsight, not logging"


@dataclass(frozen=True)
class Verdict:
    """One target.

    Attributes:
        holds: None: not measured.
    """

    network: str
    target: str
    found: str
    holds: bool | None

    @property
    def word(self) -> str:
        """In one word."""
        return {True: "pass", False: "SHORT", None: "not measured"}[self.holds]


def judge(name: str, results: NetworkResults) -> list[Verdict]:
    """All targets for one network."""
    parts = (_limit, _tail, _reference, _peers, _explanation, _drift, _logging, _ready)
    return [Verdict(name, *found) for part in parts for found in part(results)]


_Found = Iterator[tuple[str, str, bool | None]]


def _limit(results: NetworkResults) -> _Found:
    shares = results.compare_with_limit(ONSIGHT.name, _MOST)
    speed, cpu = shares or (None, None)
    yield "throughput at 32 clients at least 85 % of the limit's", *_judged(speed, 0.85, operator.ge, "{:.1%}")
    yield "CPU per image at 32 clients at most 1.35 times the limit's", *_judged(cpu, 1.35, operator.le, "{:.2f} times")


def _tail(results: NetworkResults) -> _Found:
    share = results.compare(ONSIGHT.name, ONSIGHT.name, _SOME, lambda cell: cell.p99_ms / cell.p50_ms, lambda a, _: a)
    yield "p99 at 8 clients at most 3 times the median", *_judged(share, 3, operator.le, "{:.2f} times")


def _reference(results: NetworkResults) -> _Found:
    for row, least, what in ((_EXPLAINED, 120, "with both images"), (ONSIGHT.name, 200, "without images")):
        share = results.compare(row, ReferenceRow().name, _SOME, _cpu_ms, lambda mine, theirs: theirs / mine)
        target = f"at least {least} times less CPU than the reference design, {what}, at 8 clients"
        yield target, *_judged(share, least, operator.ge, "{:.0f} times")


def _peers(results: NetworkResults) -> _Found:
    for peer in (peer for peer in PEERS if peer.name in {*results.turns, *results.not_run}):
        behind, count = [], 0
        for clients in results.clients(peer.name):
            for what, value, is_ahead in _RACES:
                share = results.compare(ONSIGHT.name, peer.name, clients, value, operator.truediv)
                if share is None:
                    continue
                count += 1
                if not is_ahead(share, 1):
                    behind.append(f"{what} at {clients} clients {share:.2f} times its")
        found = f"ahead in {count - len(behind)} of {count}" + "".join(f"; {text}" for text in behind)
        target = f"ahead of {peer.name} in CPU per request, requests/s and p99"
        yield (target, found, not behind) if count else (target, "", None)


def _explanation(results: NetworkResults) -> _Found:
    added = results.compare(_EXPLAINED, ONSIGHT.name, _SOME, _cpu_ms, operator.sub)
    yield "an explanation adds at most 3 ms of CPU, at 8 clients", *_judged(added, 3, operator.le, "{:.2f} ms")


def _drift(results: NetworkResults) -> _Found:
    share = max(results.drift_share.values(), default=None)
    target = "drift features add at most 10 % to the classifier's inference"
    yield target, *_judged(share, 0.1, operator.le, "{:.1%} at the worst batch size")


def _logging(results: NetworkResults) -> _Found:
    lost = results.compare(
        ONSIGHT.name, _UNLOGGED, _MOST, lambda cell: cell.requests_per_s, lambda mine, theirs: 1 - mine / theirs
    )
    yield "logging costs at most 10 % of throughput, at 32 clients", *_judged(lost, 0.1, operator.le, "{:.1%}")


def _ready(results: NetworkResults) -> _Found:
    slowest = max(results.ready_s, default=None)
    yield "ready within 2 s of process start", *_judged(slowest, 2, operator.le, "{:.2f} s, the slowest start")


def _cpu_ms(cell: Cell) -> float:
    return cell.cpu_ms


_RACES: tuple[tuple[str, Callable[[Cell], float], Callable[[float, float], bool]], ...] = (
    ("CPU", _cpu_ms, operator.lt),
    ("requests/s", lambda cell: cell.requests_per_s, operator.gt),
    ("p99", lambda cell: cell.p99_ms, operator.lt),
)


def _judged(
    value: float | None, target: float, holds: Callable[[float, float], bool], text: str
) -> tuple[str, bool | None]:
    return ("", None) if value is None else (text.format(value), holds(value, target))
