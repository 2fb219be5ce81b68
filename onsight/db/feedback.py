"""Opinions of predictions in the database: written once each, however often they are sent, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, select

from onsight.db.engine import Database, insert_into
from onsight.db.monitoring_tables import FeedbackRow
from onsight.db.opinions import Opinion
from onsight.db.tables import PredictionRow

__all__ = ["OPINION_COLUMNS", "find_versions", "insert_opinions", "opinion_of", "read_opinions"]

_Item = TypeVar("_Item")
OPINION_COLUMNS = (
    FeedbackRow.feedback_id,
    FeedbackRow.prediction_id,
    FeedbackRow.labels,
    FeedbackRow.labelled_by,
    FeedbackRow.labelled_at,
    FeedbackRow.source,
)
# SQLite takes so many values in a statement in its oldest builds.
_AT_ONCE = 900


def insert_opinions(database: Database, opinions: Sequence[Opinion]) -> int:
    """Writes the opinions in one transaction; those already there stay as they are.

    Returns:
        How many were new.

    Raises:
        DependencyError: The database does not answer; nothing was written.
    """
    by_id = {opinion.feedback_id: opinion for opinion in opinions}
    with database.transaction() as connection:
        return sum(_insert(connection, some) for some in _chunks(list(by_id.values())))


def read_opinions(database: Database, prediction_id: str) -> list[Opinion]:
    """Every opinion of one prediction, oldest first.

    Raises:
        DependencyError: The database does not answer.
    """
    query = (
        select(*OPINION_COLUMNS)
        .where(FeedbackRow.prediction_id == prediction_id)
        .order_by(FeedbackRow.labelled_at, FeedbackRow.feedback_id)
    )
    with database.transaction() as connection:
        return [opinion_of(row) for row in connection.execute(query)]


def find_versions(database: Database, prediction_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Model and version that made each of the predictions; those that are not there are left out.

    Raises:
        DependencyError: The database does not answer.
    """
    row = PredictionRow
    found: dict[str, tuple[str, int]] = {}
    with database.transaction() as connection:
        for some in _chunks(prediction_ids):
            query = select(row.prediction_id, row.model_name, row.model_version).where(row.prediction_id.in_(some))
            found |= {name: (model, version) for name, model, version in connection.execute(query)}
    return found


def opinion_of(row: Row[Any]) -> Opinion:
    """The opinion in a row that has the columns of ``feedback``."""
    values = dict(row._mapping)
    names = {name: values[name] for name in Opinion.__dataclass_fields__}
    return Opinion(**{**names, "labels": tuple(values["labels"])})


def _insert(connection: Connection, opinions: Sequence[Opinion]) -> int:
    rows = [{**asdict(opinion), "labels": list(opinion.labels)} for opinion in opinions]
    statement = insert_into(connection, FeedbackRow).on_conflict_do_nothing().returning(FeedbackRow.feedback_id)
    return len(connection.execute(statement, rows).all())


def _chunks(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
