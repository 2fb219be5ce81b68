"""Realised and expected accuracy in the database: what it is made of, and where dashboards read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, delete, insert, select

from onsight.db.engine import Database, lock_for_writing
from onsight.db.feedback import OPINION_COLUMNS, opinion_of
from onsight.db.monitoring_tables import AccuracyRow, FeedbackRow
from onsight.db.opinions import Opinion
from onsight.db.tables import PredictionRow
from onsight.db.windows import is_traffic

__all__ = [
    "AccuracyGroup",
    "AccuracyPeriod",
    "AccuracyRecord",
    "AnsweredImage",
    "LabelArrival",
    "answered_images",
    "answered_versions",
    "read_accuracy",
    "replace_accuracy",
]

AccuracyPeriod = Literal["day", "week"]
AccuracyGroup = Literal["all", "predicted", "labelled"]
# ``arrived``: labels that came whatever the answer was; ``review``: those of images that the review queue chose.
LabelArrival = Literal["arrived", "review"]

_ROWS_AT_ONCE = 5_000


@dataclass(frozen=True)
class AnsweredImage:
    """One prediction, and every opinion of it.

    Attributes:
        created_at: UTC.
        probabilities: By class; for multi-class models left out, as the two values beside it say all that is needed.
    """

    prediction_id: str
    created_at: datetime
    top_class: str
    confidence: float
    probabilities: Sequence[float]
    opinions: tuple[Opinion, ...]


@dataclass(frozen=True)
class AccuracyRecord:
    """How often a version was right in a day or week of its predictions, and how often it was expected to be.

    Attributes:
        starts_at: Midnight UTC; a week's is that of its Monday (ISO 8601).
        group_by: ``all``; or the images whose answer has the class ``class_name`` (``predicted``), or whose label has
            it (``labelled``).
        source: How the labels came.
        n_predictions: All of the group, labelled or not; for ``labelled``, only the labelled ones can be known.
        accuracy: None without labels; with its 95 % interval.
        expected_accuracy: What the confidence of all the group's predictions promises; None but for ``all``.
        is_calibrated: Whether the version's bundle says how often it was right at which confidence.
        delay_median_h: Hours from the prediction to its first label.
    """

    model_name: str
    model_version: int
    period: AccuracyPeriod
    starts_at: datetime
    group_by: AccuracyGroup
    class_name: str
    source: LabelArrival
    n_predictions: int
    n_labelled: int
    n_right: int
    n_disputed: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    expected_accuracy: float | None
    is_calibrated: bool
    delay_median_h: float | None
    delay_p90_h: float | None
    measured_at: datetime


def answered_versions(database: Database, since: datetime) -> list[tuple[str, int]]:
    """Model and version of everything that answered since then, without golden images; sorted.

    Raises:
        DependencyError: The database does not answer.
    """
    row = PredictionRow
    query = select(row.model_name, row.model_version).where(_is_traffic(since)).distinct()
    with database.transaction() as connection:
        return sorted((name, version) for name, version in connection.execute(query))


def answered_images(
    database: Database, model_name: str, model_version: int, since: datetime, *, with_probabilities: bool
) -> Iterator[AnsweredImage]:
    """The predictions of one version since then, by time, without golden images; read in pieces.

    Raises:
        DependencyError: The database does not answer.
    """
    query = _answers(model_name, model_version, since, with_probabilities=with_probabilities)
    with database.transaction() as connection:
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
        for _, found in groupby(rows, key=lambda row: row.answer_id):
            same = list(found)
            first = same[0]
            yield AnsweredImage(
                prediction_id=str(first.answer_id),
                created_at=first.created_at,
                top_class=first.top_class,
                confidence=first.confidence,
                probabilities=first.probabilities if with_probabilities else (),
                opinions=tuple(opinion_of(row) for row in same if row.feedback_id is not None),
            )


def replace_accuracy(
    database: Database, model_name: str, model_version: int, since: datetime, records: Sequence[AccuracyRecord]
) -> list[AccuracyRecord]:
    """Writes a version's accuracy of all periods that begin at ``since`` or later, in place of what was there.

    What is stored of a period with more predictions stays: some have been aged out since, and not evenly, because
    labelled ones are kept for longer.

    Returns:
        What is stored now, in the order of ``read_accuracy``, days before weeks.

    Raises:
        DependencyError: The database does not answer; nothing was changed.
    """
    row = AccuracyRow
    with database.transaction() as connection:
        lock_for_writing(connection, row.__tablename__)
        former = (row.model_name == model_name) & (row.model_version == model_version) & (row.starts_at >= since)
        removed = connection.execute(delete(row).where(former).returning(*_columns()))
        stored = [AccuracyRecord(*found) for found in removed]
        counted, counted_before = _n_by_period(records), _n_by_period(stored)
        kept = {period for period, n in counted_before.items() if n > counted.get(period, 0)}
        standing = [record for record in stored if _period_of(record) in kept]
        standing += [record for record in records if _period_of(record) not in kept]
        if standing:
            connection.execute(insert(row), [asdict(record) for record in standing])
    return sorted(standing, key=lambda one: (one.period, one.starts_at, one.group_by, one.class_name, one.source))


def read_accuracy(database: Database, period: AccuracyPeriod, since: datetime) -> list[AccuracyRecord]:
    """What was measured for periods that begin at ``since`` or later: by version, time, group and class.

    Raises:
        DependencyError: The database does not answer.
    """
    row = AccuracyRow
    query = (
        select(*_columns())
        .where(row.period == period, row.starts_at >= since)
        .order_by(row.model_name, row.model_version, row.starts_at, row.group_by, row.class_name, row.source)
    )
    with database.transaction() as connection:
        return [AccuracyRecord(*found) for found in connection.execute(query)]


def _columns() -> list[ColumnElement[Any]]:
    """In the order of ``AccuracyRecord``'s fields."""
    return [AccuracyRow.__table__.c[name] for name in AccuracyRecord.__dataclass_fields__]


def _period_of(record: AccuracyRecord) -> tuple[AccuracyPeriod, datetime]:
    return record.period, record.starts_at


def _n_by_period(records: Iterable[AccuracyRecord]) -> dict[tuple[AccuracyPeriod, datetime], int]:
    """How many predictions each period counts, labelled or not."""
    return {_period_of(record): record.n_predictions for record in records if record.group_by == "all"}


def _answers(model_name: str, model_version: int, since: datetime, *, with_probabilities: bool) -> Select[Any]:
    row = PredictionRow
    columns = [row.prediction_id.label("answer_id"), row.created_at, row.top_class, row.confidence]
    if with_probabilities:
        columns.append(row.probabilities)
    return (
        select(*columns, *OPINION_COLUMNS)
        .outerjoin(FeedbackRow, FeedbackRow.prediction_id == row.prediction_id)
        .where(row.model_name == model_name, row.model_version == model_version, _is_traffic(since))
        .order_by(row.created_at, row.prediction_id)
    )


def _is_traffic(since: datetime) -> ColumnElement[bool]:
    return and_(PredictionRow.created_at >= since, is_traffic())
