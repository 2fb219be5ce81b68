"""The review queue in the database: items are added, listed, decided once, and marked with the version they went to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from onsight.db.engine import Database
from onsight.db.identifiers import uuid7
from onsight.db.monitoring_tables import FeedbackRow, ReviewItemRow
from onsight.db.tables import PredictionRow

__all__ = [
    "REVIEW_SOURCE",
    "ReviewDecision",
    "ReviewItem",
    "ReviewedImage",
    "add_review_items",
    "count_open_review_items",
    "decide_review_item",
    "exclude_reviewed",
    "find_review_item",
    "mark_reviewed",
    "open_review_items",
    "waiting_reviewed_images",
]

REVIEW_SOURCE = "review"
# `excluded`: labelled, and of no use to a data set because it holds the image already.
_OPEN, _LABELLED, _SKIPPED, _EXCLUDED = "open", "labelled", "skipped", "excluded"
_ROW = ReviewItemRow


@dataclass(frozen=True)
class ReviewItem:
    """One prediction that a person should look at, or has looked at.

    Attributes:
        reason: uncertain, drifted or disputed.
        score: How strongly the reason holds, larger is stronger; comparable within one reason alone.
        chosen_at: UTC.
        status: open, labelled, skipped or excluded.
        decided_by: Empty while it is open.
    """

    prediction_id: str
    model_name: str
    model_version: int
    reason: str
    score: float
    chosen_at: datetime
    status: str = _OPEN
    decided_by: str = ""


@dataclass(frozen=True)
class ReviewDecision:
    """What a person says of an item.

    Attributes:
        labels: Class names; None: skipped. An empty tuple says that no class of a multi-label model is there.
        decided_by: The name of the person's API key, or the address that the request came from.
    """

    labels: tuple[str, ...] | None
    decided_by: str


@dataclass(frozen=True)
class ReviewedImage:
    """A labelled item whose image no data set has taken in yet.

    Attributes:
        labels: Class names, as the reviewer gave them.
        labelled_at: UTC.
    """

    prediction_id: str
    model_name: str
    model_version: int
    image_sha256: str
    image_format: str
    labels: tuple[str, ...]
    labelled_by: str
    labelled_at: datetime


def add_review_items(database: Database, items: Sequence[ReviewItem]) -> int:
    """Adds open items; a prediction that was chosen before keeps its item. Answers how many are new.

    Raises:
        DependencyError: The database does not answer; nothing was added.
    """
    if not items:
        return 0
    rows = [{**asdict(item), "decided_by": None} for item in items]
    with database.transaction() as connection:
        build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        added = build(_ROW).values(rows).on_conflict_do_nothing().returning(_ROW.prediction_id)
        return len(connection.execute(added).all())


def open_review_items(database: Database, limit: int) -> list[ReviewItem]:
    """Items that wait for a person: the newest choice first, within it the reasons in turn, the strongest first.

    Raises:
        DependencyError: The database does not answer.
    """
    rank = func.row_number().over(
        partition_by=(_ROW.chosen_at, _ROW.reason), order_by=(-_ROW.score, _ROW.prediction_id)
    )
    query = (
        select(*_item_columns())
        .where(_ROW.status == _OPEN)
        .order_by(_ROW.chosen_at.desc(), rank, _ROW.reason, _ROW.prediction_id)
        .limit(limit)
    )
    with database.transaction() as connection:
        return [ReviewItem(*found) for found in connection.execute(query)]


def count_open_review_items(database: Database, model_name: str | None = None) -> int:
    """How many items wait for a person, of one model or of all.

    Raises:
        DependencyError: The database does not answer.
    """
    query = select(func.count()).select_from(_ROW).where(_ROW.status == _OPEN)
    if model_name is not None:
        query = query.where(_ROW.model_name == model_name)
    with database.transaction() as connection:
        return int(connection.execute(query).scalar_one())


def find_review_item(database: Database, prediction_id: str) -> ReviewItem | None:
    """The item of a prediction, whatever its status, or None.

    Raises:
        DependencyError: The database does not answer.
    """
    query = select(*_item_columns()).where(_ROW.prediction_id == prediction_id)
    with database.transaction() as connection:
        found = connection.execute(query).one_or_none()
    return ReviewItem(*found) if found else None


def decide_review_item(database: Database, prediction_id: str, decision: ReviewDecision) -> bool:
    """Closes an open item and, where it was labelled, records the opinion: both in one transaction, or neither.

    Returns:
        Whether this call closed it; False: there is no such item, or somebody else was faster.

    Raises:
        DependencyError: The database does not answer; nothing was recorded.
    """
    now = datetime.now(UTC)
    by = decision.decided_by[:128]
    status = _SKIPPED if decision.labels is None else _LABELLED
    is_open = (_ROW.prediction_id == prediction_id) & (_ROW.status == _OPEN)
    with database.transaction() as connection:
        # Of two at once the second waits for the first one's row, and then finds it closed.
        closing = update(_ROW).where(is_open).values(status=status, decided_by=by, decided_at=now)
        if connection.execute(closing).rowcount == 0:
            return False
        if decision.labels is not None:
            opinion = {
                "feedback_id": str(uuid7()),
                "prediction_id": prediction_id,
                "labels": list(decision.labels),
                "labelled_by": by,
                "labelled_at": now,
                "source": REVIEW_SOURCE,
            }
            connection.execute(insert(FeedbackRow).values(opinion))
    return True


def waiting_reviewed_images(database: Database, limit: int = 10_000) -> list[ReviewedImage]:
    """Labelled items that no data set has taken in yet, oldest first.

    Raises:
        DependencyError: The database does not answer.
    """
    said, asked = FeedbackRow, PredictionRow
    query = (
        select(
            _ROW.prediction_id, _ROW.model_name, _ROW.model_version, asked.image_sha256, asked.image_format,
            said.labels, said.labelled_by, said.labelled_at,
        )
        .join(asked, asked.prediction_id == _ROW.prediction_id)
        .join(said, (said.prediction_id == _ROW.prediction_id) & (said.source == REVIEW_SOURCE))
        .where(_ROW.status == _LABELLED, _ROW.dataset_tag.is_(None))
        .order_by(said.labelled_at, _ROW.prediction_id)
        .limit(limit)
    )  # fmt: skip
    with database.transaction() as connection:
        rows = connection.execute(query).all()
    return [ReviewedImage(**{**row._mapping, "labels": tuple(row.labels)}) for row in rows]


def mark_reviewed(database: Database, tag_by_prediction: Iterable[tuple[str, str]]) -> None:
    """Notes which version of the data set took each prediction's image in.

    Raises:
        DependencyError: The database does not answer; nothing was noted.
    """
    with database.transaction() as connection:
        for prediction_id, tag in tag_by_prediction:
            connection.execute(update(_ROW).where(_ROW.prediction_id == prediction_id).values(dataset_tag=tag[:64]))


def exclude_reviewed(database: Database, prediction_ids: Collection[str]) -> None:
    """Notes that the images of these labelled items will never be taken in; their opinions stay.

    Raises:
        DependencyError: The database does not answer; nothing was noted.
    """
    with database.transaction() as connection:
        for prediction_id in prediction_ids:
            connection.execute(update(_ROW).where(_ROW.prediction_id == prediction_id).values(status=_EXCLUDED))


def _item_columns() -> tuple[Any, ...]:
    """In the order of ``ReviewItem``'s fields."""
    of_choice = (_ROW.prediction_id, _ROW.model_name, _ROW.model_version, _ROW.reason, _ROW.score, _ROW.chosen_at)
    return (*of_choice, _ROW.status, func.coalesce(_ROW.decided_by, ""))
