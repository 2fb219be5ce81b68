"""Retention: what the platform collects and no longer needs is named first, and removed only when asked to."""

from onsight.retention.drift_reports import collect_drift_pages, collect_drift_runs
from onsight.retention.images import keep_images
from onsight.retention.report import RetentionReport, Share, as_markdown
from onsight.retention.rows import age_rows
from onsight.retention.rule import Dated, outdated
from onsight.retention.runs import collect_runs
from onsight.retention.versions import Place, collect_versions, stored_versions

__all__ = [
    "Dated",
    "Place",
    "RetentionReport",
    "Share",
    "age_rows",
    "as_markdown",
    "collect_drift_pages",
    "collect_drift_runs",
    "collect_runs",
    "collect_versions",
    "keep_images",
    "outdated",
    "stored_versions",
]
