"""The review queue in the database: items are added, listed, decided once, and marked with the version they went to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from onsight.db.engine import Database, insert_into
from onsight.db.feedback import OPINION_COLUMNS, opinion_of
from onsight.db.monitoring_tables import FeedbackRow, ReviewItemRow
from onsight.db.opinions import Opinion, decide_label
from onsight.db.tables import PredictionRow

__all__ = [
    "LABELLED_STATUSES",
    "ReviewItem",
    "ReviewedImage",
    "WaitingItem",
    "add_review_items",
    "count_open_review_items",
    "decide_review_item",
    "exclude_reviewed",
    "find_review_item",
    "mark_reviewed",
    "open_review_items",
    "waiting_reviewed_images",
]

# `excluded`: labelled, and of no use to a data set because it holds the image already.
_OPEN, _LABELLED, _SKIPPED, _EXCLUDED = "open", "labelled", "skipped", "excluded"
# What a person has given a label.
LABELLED_STATUSES = (_LABELLED, _EXCLUDED)
_ROW, _ASKED = ReviewItemRow, PredictionRow


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
class WaitingItem:
    """An open item, and what was answered.

    Attributes:
        probabilities: By class, in the order of the version's classes.
    """

    item: ReviewItem
    top_class: str
    probabilities: list[float]


@dataclass(frozen=True)
class ReviewedImage:
    """A labelled item whose image no data set has taken in yet.

    Attributes:
        labels: Class names, what most people say; None: as many say one thing as another.
        labelled_by: Who says so.
        labelled_at: When the last of them did; UTC.
    """

    prediction_id: str
    model_name: str
    model_version: int
    image_sha256: str
    image_format: str
    labels: tuple[str, ...] | None
    labelled_by: tuple[str, ...]
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
        added = insert_into(connection, _ROW).values(rows).on_conflict_do_nothing().returning(_ROW.prediction_id)
        return len(connection.execute(added).all())


def open_review_items(database: Database, limit: int) -> list[WaitingItem]:
    """Items that wait for a person: the newest choice first, within it the reasons in turn, the strongest first.

    Raises:
        DependencyError: The database does not answer.
    """
    by_strength = (-_ROW.score, _ROW.prediction_id)
    rank = func.row_number().over(partition_by=(_ROW.chosen_at, _ROW.reason), order_by=by_strength)
    query = (
        select(*_item_columns(), _ASKED.top_class, _ASKED.probabilities)
        .join(_ASKED, _ASKED.prediction_id == _ROW.prediction_id)
        .where(_ROW.status == _OPEN)
        .order_by(_ROW.chosen_at.desc(), rank, _ROW.reason, _ROW.prediction_id)
        .limit(limit)
    )
    with database.transaction() as connection:
        found = connection.execute(query).all()
    return [WaitingItem(ReviewItem(*row[:-2]), row.top_class, list(row.probabilities)) for row in found]


def count_open_review_items(database: Database, model_name: str | None = None) -> int:
    """How many items wait for a person, of one model or of all.

    Raises:
        DependencyError: The database does not answer.
    """
    # Of an item whose prediction was aged out nobody can say anything any more.
    joined = select(func.count()).select_from(_ROW).join(_ASKED, _ASKED.prediction_id == _ROW.prediction_id)
    query = joined.where(_ROW.status == _OPEN)
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


def decide_review_item(database: Database, prediction_id: str, decided_by: str, opinion: Opinion | None) -> bool:
    """Closes an open item and records the opinion: both in one transaction, or neither.

    Args:
        prediction_id: Of the item.
        decided_by: The person.
        opinion: About this prediction, with the source ``review``; None: skipped.

    Returns:
        Whether this call closed it; False: there is no such item, or somebody else was faster.

    Raises:
        DependencyError: The database does not answer; nothing was recorded.
    """
    status = _SKIPPED if opinion is None else _LABELLED
    closed = {"status": status, "decided_by": decided_by[:128], "decided_at": datetime.now(UTC)}
    is_open = (_ROW.prediction_id == prediction_id) & (_ROW.status == _OPEN)
    with database.transaction() as connection:
        # Of two at once the second waits for the first one's row, and then finds it closed.
        if connection.execute(update(_ROW).where(is_open).values(closed)).rowcount == 0:
            return False
        if opinion is not None:
            connection.execute(insert(FeedbackRow).values({**asdict(opinion), "labels": list(opinion.labels)}))
    return True


def waiting_reviewed_images(database: Database, limit: int = 10_000) -> list[ReviewedImage]:
    """Labelled items that no data set has taken in yet, with what people say of each together; oldest first.

    Raises:
        DependencyError: The database does not answer.
    """
    columns = (_ASKED.model_name, _ASKED.model_version, _ASKED.image_sha256, _ASKED.image_format)
    waiting = (
        select(_ROW.prediction_id, *columns)
        .join(_ASKED, _ASKED.prediction_id == _ROW.prediction_id)
        .where(_ROW.status == _LABELLED, _ROW.dataset_tag.is_(None))
        .order_by(_ROW.prediction_id)
        .limit(limit)
    )
    opinions: dict[str, list[Opinion]] = defaultdict(list)
    with database.transaction() as connection:
        items = connection.execute(waiting).all()
        asked = waiting.with_only_columns(_ROW.prediction_id).subquery()
        said = select(*OPINION_COLUMNS).join(asked, asked.c.prediction_id == FeedbackRow.prediction_id)
        for row in connection.execute(said):
            opinions[row.prediction_id].append(opinion_of(row))
    return [_reviewed_image(item, opinions[item.prediction_id]) for item in items if opinions[item.prediction_id]]


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


def _reviewed_image(item: Row[Any], opinions: list[Opinion]) -> ReviewedImage:
    labels = decide_label(opinions).labels
    agreeing = [opinion for opinion in opinions if opinion.labels == labels] or opinions
    return ReviewedImage(
        **item._mapping,
        labels=labels,
        labelled_by=tuple(sorted({opinion.labelled_by for opinion in agreeing})),
        labelled_at=max(opinion.labelled_at for opinion in agreeing),
    )


def _item_columns() -> tuple[Any, ...]:
    """In the order of ``ReviewItem``'s fields."""
    of_choice = (_ROW.prediction_id, _ROW.model_name, _ROW.model_version, _ROW.reason, _ROW.score, _ROW.chosen_at)
    return (*of_choice, _ROW.status, func.coalesce(_ROW.decided_by, ""))
