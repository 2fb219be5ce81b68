"""The tables, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from benchmarks.serving_parts.measure import Cell
from benchmarks.serving_parts.results import NetworkResults, Spread
from benchmarks.serving_parts.verdicts import judge

__all__ = ["report"]

_COLUMNS: dict[str, Callable[[Cell], float]] = {
    "CPU ms per request": lambda cell: cell.cpu_ms,
    "requests/s": lambda cell: cell.requests_per_s,
    "p50 ms": lambda cell: cell.p50_ms,
    "p99 ms": lambda cell: cell.p99_ms,
    "Postgres' CPU ms": lambda cell: cell.database_cpu_ms,
    "load's CPU ms": lambda cell: cell.load_cpu_ms,
    "other work, cores": lambda cell: cell.other_cores,
}


def report(networks: dict[str, NetworkResults], machine: dict[str, object]) -> str:
    """All tables."""
    lines = [f"{machine['cpu']}, {machine['cores_usable']} cores ({', '.join(_texts(machine['instructions']))})", ""]
    for name, results in networks.items():
        lines += [f"## {name}, {results.side} px", "", *_rows(results), "", *_limits(results), ""]
        lines += [*_memory(results), "", *_not_run(results), ""]
    lines += ["## Targets", "", *_table(("network", "target", "found", "verdict"))]
    for name, results in networks.items():
        lines += [
            _line(verdict.network, verdict.target, verdict.found, verdict.word) for verdict in judge(name, results)
        ]
    return "\n".join(lines)


def _rows(results: NetworkResults) -> Iterator[str]:
    yield from _table(("row", "clients", *_COLUMNS))
    for row in results.turns:
        for clients in results.clients(row):
            yield _line(row, clients, *(results.spread(row, clients, value) for value in _COLUMNS.values()))


def _limits(results: NetworkResults) -> Iterator[str]:
    if not results.limits:
        return
    yield from _table(("the limit", "CPU ms per image", "images/s", "ms per batch", "other work, cores"))
    best = results.strongest()
    for name, rounds in results.limits.items():
        values = [[limit.cpu_ms, limit.images_per_s, limit.latency_ms, limit.other_cores] for limit in rounds.values()]
        numbers = [Spread.of(list(column)) for column in zip(*values, strict=True)]
        yield _line(f"**{name}**" if name == best else name, *numbers)


def _memory(results: NetworkResults) -> Iterator[str]:
    yield from _table(("row", "processes", "resident MiB of the largest", "proportional MiB of all"))
    for row, turns in results.turns.items():
        counts = [len(turn.memory) for turn in turns.values()]
        largest = [[float(process["rss_mib"]) for process in turn.memory[:3]] for turn in turns.values()]
        total = [sum(float(process["pss_mib"]) for process in turn.memory) for turn in turns.values()]
        sizes = ", ".join(f"{size:.0f}" for size in largest[-1])
        yield _line(row, max(counts), sizes, f"{median(total):.0f}")


def _not_run(results: NetworkResults) -> Iterator[str]:
    for row, why in results.not_run.items():
        yield f"- **{row}: not measured, or failed**: {why}"


def _table(columns: tuple[str, ...]) -> list[str]:
    return [_line(*columns), _line(*("---" for _ in columns))]


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _texts(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []
