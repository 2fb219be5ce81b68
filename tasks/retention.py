"""The stages of retention: rows, the list of images to keep, versions with their bundles, runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from onsight.config import RowRetention, VersionRetention
from onsight.db import Database, alerted_runs
from onsight.retention import (
    Place,
    Share,
    age_rows,
    collect_drift_pages,
    collect_drift_runs,
    collect_runs,
    collect_versions,
    keep_images,
    stored_versions,
)
from onsight.settings import Settings
from onsight.tracking.past_runs import PastRuns
from tasks.stage import stage

__all__ = ["clear_drift_reports", "clear_rows", "clear_versions", "list_kept_images"]


@stage("rows")
def clear_rows(database: Database, config: RowRetention, now: datetime, *, apply: bool) -> list[Share]:
    """Delete or count the rows that are too old."""
    return list(age_rows(database, config, now, apply=apply))


@stage("drift reports")
def clear_drift_reports(
    place: Place, config: RowRetention, settings: Settings, now: datetime, *, apply: bool
) -> list[Share]:
    """Remove or name the monitor's reports that are too old, but those of alerts."""
    kept, before = alerted_runs(place.database), now - timedelta(days=config.drift_results_days)
    return [
        collect_drift_pages(place.store, kept, before, apply=apply),
        collect_drift_runs(PastRuns(settings), kept, before, apply=apply),
    ]


@stage("images")
def list_kept_images(database: Database, folder: Path, *, apply: bool) -> int:
    """Name the images that the archive's clean-up must pass over."""
    return keep_images(database, folder, apply=apply)


@stage("versions and runs")
def clear_versions(
    place: Place, rules: tuple[VersionRetention, VersionRetention], settings: Settings, now: datetime, *, apply: bool
) -> list[Share]:
    """Remove or name outdated versions, then outdated runs, but those of the versions that stay.

    Args:
        rules: For versions, and for runs.
    """
    versions = stored_versions(place)
    gone = collect_versions(place, versions, rules[0], now, apply=apply)
    needed = {version.run_id for version in versions if version.bundle_name not in gone.names}
    return [gone, collect_runs(PastRuns(settings), needed, rules[1], now, apply=apply)]
