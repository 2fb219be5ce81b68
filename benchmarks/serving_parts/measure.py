"""Measuring one contestant: load at each number of clients, and what its processes used for it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil

from benchmarks.serving_parts.contestants import ROOT, Contestant, Place, Running, clean_environment, probabilities
from benchmarks.serving_parts.inputs import Network
from benchmarks.serving_parts.load import Orders, Seen
from benchmarks.serving_parts.processes import NotRunError, wait_until

__all__ = ["Cell", "Effort", "Turn", "other_cores", "take_turn"]

_LOGGED_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        clients: Connections at once, one cell each.
        warm_up_s: Once after the start; a third of it before each cell.
    """

    clients: tuple[int, ...]
    duration_s: float
    warm_up_s: float


@dataclass(frozen=True)
class Cell:
    """One contestant under one load.

    Attributes:
        cpu_ms: Of the server's processes, per request.
        database_cpu_ms: Of Postgres, per request.
        load_cpu_ms: Of the load generator, per request.
        load_average: Of the machine, before.
        other_cores: Cores that neither the server nor the load nor Postgres used, on average: noise.
    """

    clients: int
    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_ms: float
    database_cpu_ms: float
    load_cpu_ms: float
    load_average: float
    other_cores: float


@dataclass(frozen=True)
class Turn:
    """One start of a contestant, with all its cells.

    Attributes:
        memory: Of its processes after the load, the largest first.
        logged: Predictions on record and predictions answered, where they are logged.
    """

    cells: list[Cell]
    memory: list[dict[str, float | str]]
    logged: tuple[int, int] | None


def take_turn(
    contestant: Contestant, network: Network, place: Place, effort: Effort, expected: list[list[float]]
) -> Turn:
    """Starts it, checks its answer, measures every cell.

    Raises:
        NotRunError: It cannot be started, answers wrongly or not with 200, or does not log what it should.
    """
    with contestant.serve(network, place) as running:
        _check_answer(running, expected)
        answered = 1 + _load(running, place, effort, effort.clients[-1], warm_only=True)[1]
        cells = []
        for clients in effort.clients:
            cell, count = _load(running, place, effort, clients)
            answered += count
            assert cell is not None
            cells.append(cell)
        memory = running.tree.resident_mib()
        return Turn(cells, memory, _check_log(running, answered))


def other_cores(before: Any, after: Any, elapsed_s: float, ours_s: float) -> float:  # noqa: ANN401 - psutil's tuple
    """Cores that were busy with anything but ours, stolen time included, on average."""
    idle_s = (after.idle + after.iowait) - (before.idle + before.iowait)
    cores = (os.cpu_count() or 1) - (idle_s + ours_s) / elapsed_s
    return float(round(max(0.0, cores), 2))


def _check_answer(running: Running, expected: list[list[float]]) -> None:
    found = probabilities(running)
    if not any(np.allclose(found, one, atol=running.tolerance) for one in expected):
        raise NotRunError(f"it answers {found}, the graph {expected}")


def _load(
    running: Running, place: Place, effort: Effort, clients: int, *, warm_only: bool = False
) -> tuple[Cell | None, int]:
    """A cell, and how many requests were answered; with ``warm_only`` no cell."""
    warm_up_s, duration_s = (effort.warm_up_s, 0.0) if warm_only else (effort.warm_up_s / 3, effort.duration_s)
    orders = Orders(running.port, base64.b64encode(running.request).decode(), clients, warm_up_s, duration_s)
    trees = [running.tree, place.postgres_tree]
    command = [sys.executable, "-m", "benchmarks.serving_parts.load"]
    with subprocess.Popen(
        command, env=clean_environment(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as generator:
        assert generator.stdin is not None
        assert generator.stdout is not None
        print(json.dumps(asdict(orders)), file=generator.stdin, flush=True)
        generator.stdout.readline()
        load_average = os.getloadavg()[0]
        time.sleep(running.settle_s)
        started_s, busy = time.monotonic(), psutil.cpu_times()
        used_s = [tree.cpu_s() for tree in trees]
        print("go", file=generator.stdin, flush=True)
        line = generator.stdout.readline()
    if not line:
        raise NotRunError("the load generator failed: no answer in time")
    seen = Seen(**json.loads(line))
    time.sleep(running.settle_s)
    used_s = [tree.cpu_s() - before for tree, before in zip(trees, used_s, strict=True)]
    if seen.errors:
        raise NotRunError(
            f"{seen.errors} ERRORS among {seen.requests} answers at {clients} clients: {seen.first_error}"
        )
    count = seen.requests + seen.warm_up_requests
    if warm_only:
        return None, count
    others = other_cores(busy, psutil.cpu_times(), time.monotonic() - started_s, sum(used_s) + seen.cpu_s)
    return _cell(seen, clients, used_s, load_average, others), count


def _cell(seen: Seen, clients: int, used_s: list[float], load_average: float, others: float) -> Cell:
    return Cell(
        clients=clients,
        requests=seen.requests,
        requests_per_s=round(seen.requests / seen.seconds, 2),
        p50_ms=round(seen.p50_ms, 2),
        p99_ms=round(seen.p99_ms, 2),
        max_ms=round(seen.max_ms, 2),
        cpu_ms=round(1000 * used_s[0] / seen.requests, 3),
        database_cpu_ms=round(1000 * used_s[1] / seen.requests, 3),
        load_cpu_ms=round(1000 * seen.cpu_s / seen.requests, 3),
        load_average=round(load_average, 2),
        other_cores=others,
    )


def _check_log(running: Running, answered: int) -> tuple[int, int] | None:
    count = running.count_logged
    if count is None:
        return None
    due = round(answered * running.must_log)
    wait_until(lambda: count() >= due, _LOGGED_TIMEOUT_S, f"only some of {due} predictions are on record", 0.2)
    if (logged := count()) != due:
        raise NotRunError(f"{logged} predictions are on record, there should be {due}")
    return logged, answered
