"""Rows that have grown old: counted, and deleted in batches; what people or alerts point at stays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute

from onsight.db.engine import Database
from onsight.db.monitoring_tables import DriftAlertRow, DriftResultRow, FeedbackRow, RetrainingRow, ReviewItemRow
from onsight.db.tables import ApiCallRow, Base, PredictionRow

__all__ = ["AgedTable", "count_aged_rows", "delete_aged_rows", "drift_evidence", "images_to_keep"]

AgedTable = Literal["predictions", "api_log", "drift_results", "retraining_decisions"]

_COMBINED = "combined"
_SKIPPED = "skipped"
# Of SQLite's 32,766 parameters in one statement.
_IDS_PER_QUERY = 10_000


@dataclass(frozen=True)
class _Aged:
    """A table whose rows grow old: its key, its clock, and which rows may go at all."""

    row: type[Base]
    key: InstrumentedAttribute[Any]
    at: InstrumentedAttribute[datetime]
    may_go: tuple[ColumnElement[bool], ...] = ()


_TABLES: dict[AgedTable, _Aged] = {
    "predictions": _Aged(
        PredictionRow,
        PredictionRow.prediction_id,
        PredictionRow.created_at,
        (
            ~select(FeedbackRow.feedback_id).where(FeedbackRow.prediction_id == PredictionRow.prediction_id).exists(),
            ~select(ReviewItemRow.status).where(ReviewItemRow.prediction_id == PredictionRow.prediction_id).exists(),
        ),
    ),
    "api_log": _Aged(ApiCallRow, ApiCallRow.call_id, ApiCallRow.at),
    "drift_results": _Aged(
        DriftResultRow,
        DriftResultRow.seq,
        DriftResultRow.tested_at,
        (~select(DriftAlertRow.run_id).where(DriftAlertRow.run_id == DriftResultRow.run_id).exists(),),
    ),
    "retraining_decisions": _Aged(RetrainingRow, RetrainingRow.seq, RetrainingRow.decided_at, (~RetrainingRow.fired,)),
}


def count_aged_rows(database: Database, table: AgedTable, before: datetime, kept: Collection[str] = ()) -> int:
    """How many rows ``delete_aged_rows`` would delete.

    Raises:
        DependencyError: The database does not answer.
    """
    query = select(func.count()).select_from(_TABLES[table].row).where(*_conditions(table, before, kept))
    with database.transaction() as connection:
        return int(connection.execute(query).scalar_one())


def delete_aged_rows(
    database: Database, table: AgedTable, before: datetime, batch_rows: int, kept: Collection[str] = ()
) -> int:
    """Deletes rows from before a moment, oldest first, each batch in a transaction of its own; how many went.

    What was deleted when it is interrupted stays deleted; the next call goes on.

    Args:
        before: UTC.
        batch_rows: At most so many in one transaction.
        kept: Keys of rows that stay, beside those that feedback, review items or alerts point at.

    Raises:
        DependencyError: The database does not answer.
    """
    aged = _TABLES[table]
    oldest = select(aged.key).where(*_conditions(table, before, kept)).order_by(aged.at).limit(batch_rows)
    total = 0
    while True:
        with database.transaction() as connection:
            deleted = connection.execute(delete(aged.row).where(aged.key.in_(oldest))).rowcount
        total += deleted
        if deleted < batch_rows:
            return total


def drift_evidence(database: Database, model_name: str, model_version: int) -> frozenset[str]:
    """The predictions that the alerts on a version named as the most drifted.

    Raises:
        DependencyError: The database does not answer.
    """
    row, alert = DriftResultRow, DriftAlertRow
    query = (
        select(row.details)
        .join(alert, alert.run_id == row.run_id)
        .where(row.model_name == model_name, row.model_version == model_version, row.test == _COMBINED)
    )
    with database.transaction() as connection:
        found = connection.execute(query).scalars().all()
    return frozenset(str(entry[0]) for details in found for entry in details.get("most_drifted", ()))


def images_to_keep(database: Database, evidence: Collection[str]) -> frozenset[str]:
    """Digests of the images that people have judged or are to judge, and of the predictions named.

    Args:
        evidence: Prediction ids.

    Raises:
        DependencyError: The database does not answer.
    """
    asked, said, item = PredictionRow, FeedbackRow, ReviewItemRow
    judged = select(asked.image_sha256).join(said, said.prediction_id == asked.prediction_id)
    chosen = (
        select(asked.image_sha256).join(item, item.prediction_id == asked.prediction_id).where(item.status != _SKIPPED)
    )
    ids = sorted(evidence)
    named = [
        select(asked.image_sha256).where(asked.prediction_id.in_(ids[start : start + _IDS_PER_QUERY]))
        for start in range(0, len(ids), _IDS_PER_QUERY)
    ]
    with database.transaction() as connection:
        return frozenset(digest for query in (judged, chosen, *named) for digest in connection.execute(query).scalars())


def _conditions(table: AgedTable, before: datetime, kept: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    aged = _TABLES[table]
    named = (aged.key.not_in(sorted(kept)),) if kept else ()
    return (aged.at < before, *aged.may_go, *named)
