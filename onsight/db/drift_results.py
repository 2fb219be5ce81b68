"""What the drift monitor found, run by run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import insert, select

from onsight.db.engine import Database
from onsight.db.monitoring_tables import DriftResultRow

__all__ = [
    "COMBINED",
    "DriftResultRecord",
    "VerdictWord",
    "find_verdict",
    "newest_drift_run",
    "past_verdicts",
    "record_drift_results",
]

COMBINED = "combined"
VerdictWord = Literal["drift", "no drift", "not enough data", "not tested"]
_NO_VERDICT: VerdictWord = "not enough data"


@dataclass(frozen=True)
class DriftResultRecord:
    """One row of ``drift_results``.

    Attributes:
        run_id: Of the monitor's run, a UUID; all rows of a run share it.
        test: uae, bbsd, class_mix, confidence, properties, or ``combined``: the run's verdict.
        p_value: Adjusted for all tests of the run; compared with ``threshold``.
        window_start: When the oldest prediction of the window was made, UTC.
        details: Plain JSON.
    """

    run_id: str
    tested_at: datetime
    model_name: str
    model_version: int
    test: str
    detector: str
    verdict: VerdictWord
    statistic: float | None
    p_value: float | None
    threshold: float
    n_reference: int
    n_window: int
    window_start: datetime | None
    window_end: datetime | None
    details: Mapping[str, Any] = field(default_factory=dict)


def record_drift_results(database: Database, results: Sequence[DriftResultRecord]) -> None:
    """Writes the rows of one run, all or none.

    Raises:
        DependencyError: The database does not answer.
    """
    with database.transaction() as connection:
        connection.execute(insert(DriftResultRow), [vars(result) for result in results])


def past_verdicts(database: Database, model_name: str, model_version: int, limit: int) -> list[DriftResultRecord]:
    """The newest combined verdicts of a version, newest first; runs with too little data gave none.

    Raises:
        DependencyError: The database does not answer.
    """
    row = DriftResultRow
    query = (
        select(*_columns())
        .where(row.model_name == model_name, row.model_version == model_version)
        .where(row.test == COMBINED, row.verdict != _NO_VERDICT)
        .order_by(row.tested_at.desc(), row.seq.desc())
        .limit(limit)
    )
    with database.transaction() as connection:
        return [DriftResultRecord(*values) for values in connection.execute(query)]


def newest_drift_run(database: Database) -> list[DriftResultRecord]:
    """All rows of the newest run of any version; none if there was no run.

    Raises:
        DependencyError: The database does not answer.
    """
    row = DriftResultRow
    newest = select(row.run_id).order_by(row.seq.desc()).limit(1).scalar_subquery()
    query = select(*_columns()).where(row.run_id == newest).order_by(row.seq)
    with database.transaction() as connection:
        return [DriftResultRecord(*values) for values in connection.execute(query)]


def find_verdict(database: Database, run_id: str) -> DriftResultRecord | None:
    """The combined verdict of one run, or None if it is not stored.

    Raises:
        DependencyError: The database does not answer.
    """
    row = DriftResultRow
    with database.transaction() as connection:
        found = connection.execute(select(*_columns()).where(row.run_id == run_id, row.test == COMBINED)).one_or_none()
    return None if found is None else DriftResultRecord(*found)


def _columns() -> list[Any]:
    row = DriftResultRow
    return [
        row.run_id, row.tested_at, row.model_name, row.model_version, row.test, row.detector, row.verdict,
        row.statistic, row.p_value, row.threshold, row.n_reference, row.n_window, row.window_start, row.window_end,
        row.details,
    ]  # fmt: skip
