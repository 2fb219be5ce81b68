"""Runs in MLflow: which are outdated, and their removal with their bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from onsight.config import VersionRetention
from onsight.retention.report import Share
from onsight.retention.rule import Dated, outdated
from onsight.tracking.past_runs import PastRun, PastRuns

__all__ = ["collect_runs", "remove_runs"]


def collect_runs(runs: PastRuns, kept: Collection[str], rule: VersionRetention, now: datetime, *, apply: bool) -> Share:
    """Remove the outdated runs with their artifacts and logged models, or name them.

    Args:
        runs: Of the tracking server.
        kept: Runs that versions came from which stay.
        rule: For the runs of each name.
        now: With its zone.
        apply: Remove them.

    Raises:
        DependencyError: The tracking server does not answer.
    """
    known = {run.run_id: run for run in runs.all()}
    names = outdated([Dated(run.name, run.started_at, run.run_id) for run in known.values()], rule, kept, now)
    return remove_runs("runs", runs, [known[run_id] for run_id in names], apply=apply)


def remove_runs(kind: str, runs: PastRuns, old: Sequence[PastRun], *, apply: bool) -> Share:
    """Remove runs with their bytes, or only count those.

    Raises:
        DependencyError: The tracking server does not answer.
    """
    size_bytes = 0
    for run in old:
        size_bytes += runs.size_bytes(run.run_id)
        if apply:
            runs.remove(run.run_id)
    return Share(kind, len(old), size_bytes, tuple(f"{run.name} {run.run_id}" for run in old))
