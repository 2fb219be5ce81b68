"""Reports of the drift monitor in central storage and MLflow: those of alerts stay, the others grow old."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from onsight.drift import PAGES, DriftPage
from onsight.retention.report import Share
from onsight.retention.runs import remove_runs
from onsight.storage import ArtifactStore
from onsight.tracking import DRIFT_TAG
from onsight.tracking.past_runs import PastRuns

__all__ = ["collect_drift_pages", "collect_drift_runs"]


def collect_drift_pages(store: ArtifactStore, kept: Collection[str], before: datetime, *, apply: bool) -> Share:
    """Remove the pages of runs from before a moment, or name them.

    Args:
        store: Central storage.
        kept: The monitor's runs whose pages stay.
        before: With its zone.
        apply: Remove them.

    Raises:
        StorageError: Storage fails.
    """
    alerted = {DriftPage.run_of(run_id) for run_id in kept}
    size_bytes, gone = 0, []
    for key in store.list(PAGES):
        page = DriftPage.from_key(key)
        if page is None or page.tested_at >= before or page.run in alerted:
            continue
        size_bytes += store.size_bytes(key)
        gone.append(key)
        if apply:
            store.delete(key)
    return Share("drift reports", len(gone), size_bytes, tuple(gone))


def collect_drift_runs(runs: PastRuns, kept: Collection[str], before: datetime, *, apply: bool) -> Share:
    """Remove the monitor's runs in MLflow from before a moment with their artifacts, or name them.

    Args:
        runs: Of the tracking server.
        kept: The monitor's runs, by its own ids, that stay.
        before: With its zone.
        apply: Remove them.

    Raises:
        DependencyError: The tracking server does not answer.
    """
    old = [run for run in runs.all(DRIFT_TAG) if run.started_at < before and run.tag not in kept]
    return remove_runs("runs of the drift monitor", runs, old, apply=apply)
