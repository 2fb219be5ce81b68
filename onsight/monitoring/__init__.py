"""The drift monitor's evidence: rows, the cause in words, the report, confirmation and alerts."""

from onsight.monitoring.alerts import Webhook, alert_document
from onsight.monitoring.cause import name_cause
from onsight.monitoring.confirmation import Confirmation, confirm_drift
from onsight.monitoring.features import TEST_TITLES, feature_title, moved_features
from onsight.monitoring.report import ReportParts, render_report
from onsight.monitoring.rows import MonitorRun, combined_row, most_drifted, result_rows
from onsight.monitoring.samples import reference_sample, typical_rows, window_sample
from onsight.monitoring.thumbnails import Gallery, Thumbnail, draw_galleries

__all__ = [
    "TEST_TITLES",
    "Confirmation",
    "Gallery",
    "MonitorRun",
    "ReportParts",
    "Thumbnail",
    "Webhook",
    "alert_document",
    "combined_row",
    "confirm_drift",
    "draw_galleries",
    "feature_title",
    "most_drifted",
    "moved_features",
    "name_cause",
    "reference_sample",
    "render_report",
    "result_rows",
    "typical_rows",
    "window_sample",
]
