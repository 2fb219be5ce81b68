"""`rows`, `versions`, `runs`: how long the platform keeps what it collects."""

from __future__ import annotations

from pydantic import Field

from onsight.config.base import Section

__all__ = ["RowRetention", "VersionRetention"]


class RowRetention(Section):
    """How long rows of the database stay; reviewed, labelled and alerted ones stay for good."""

    predictions_days: float = Field(180.0, ge=1, description="but those with feedback, review or an alert")
    api_log_days: float = Field(30.0, ge=1)
    drift_results_days: float = Field(
        365.0, ge=1, description="and the monitor's reports, but those of a run that raised an alert"
    )
    retraining_decisions_days: float = Field(365.0, ge=1, description="but those that fired")
    batch_rows: int = Field(5000, ge=1, le=100_000, description="deleted in one transaction")


class VersionRetention(Section):
    """What is kept beside what may never go: the newest, and whatever is young."""

    keep_newest: int = Field(ge=1, description="of each model, or of each kind of run")
    days: float = Field(ge=1, description="younger ones are kept too")
