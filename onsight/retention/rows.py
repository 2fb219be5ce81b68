"""Rows of the database that have grown old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from onsight.config import RowRetention
from onsight.db import AgedTable, Database, count_aged_rows, delete_aged_rows, drift_evidence, newest_desired
from onsight.retention.report import Share

__all__ = ["age_rows", "champion_evidence"]


def age_rows(database: Database, config: RowRetention, now: datetime, *, apply: bool) -> Iterator[Share]:
    """Delete the rows that are older than the config says, or count them.

    Raises:
        DependencyError: The database does not answer.
    """
    ages: dict[AgedTable, float] = {
        "predictions": config.predictions_days,
        "api_log": config.api_log_days,
        "drift_results": config.drift_results_days,
        "retraining_decisions": config.retraining_decisions_days,
    }
    evidence = champion_evidence(database)
    for table, days in ages.items():
        before = now - timedelta(days=days)
        kept = evidence if table == "predictions" else ()
        if apply:
            yield Share(table, delete_aged_rows(database, table, before, config.batch_rows, kept))
        else:
            yield Share(table, count_aged_rows(database, table, before, kept))


def champion_evidence(database: Database) -> frozenset[str]:
    """The predictions that the alerts on the version in production were raised for; none where there is no version.

    Raises:
        DependencyError: The database does not answer.
    """
    served = newest_desired(database)
    return drift_evidence(database, served.model_name, served.model_version) if served else frozenset()
