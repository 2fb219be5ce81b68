"""What the retraining policy looks back on, and the decisions that it leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from onsight.db.engine import Database, lock_for_writing
from onsight.db.monitoring_tables import DriftAlertRow, RetrainingRow, ReviewItemRow
from onsight.db.review import LABELLED_STATUSES
from onsight.db.tables import DesiredModelRow

__all__ = [
    "NOT_FIRED",
    "RUNNING",
    "DecisionRecord",
    "DriftAlert",
    "PastRetraining",
    "RetrainingHistory",
    "ServedVersion",
    "claim_retraining",
    "finish_retraining",
    "note_dataset_tag",
    "record_decision",
    "retraining_history",
]

RUNNING = "running"
NOT_FIRED = "not fired"
# What the gate has decided on answers the alerts and labels from before; what was cut short does not.
_ANSWERS = ("promoted", "refused")
_LONGEST_OUTCOME = 500


@dataclass(frozen=True)
class DriftAlert:
    """A confirmed drift of one version."""

    raised_at: datetime
    model_version: int


@dataclass(frozen=True)
class ServedVersion:
    """From when a version was wished for; until the next one.

    Attributes:
        version: 0 while another model is served.
        other_model: The one that is served instead, or empty.
    """

    since: datetime
    version: int
    other_model: str = ""


@dataclass(frozen=True)
class PastRetraining:
    """A decision that fired, and what came of it.

    Attributes:
        outcome: ``running``, or ``promoted: ...``, ``refused: ...``, ``skipped: ...``, ``failed: ...``,
            ``abandoned: ...``.
    """

    decided_at: datetime
    outcome: str
    dataset_tag: str | None = None

    @property
    def is_answer(self) -> bool:
        """Whether the promotion gate had its say."""
        return self.outcome.startswith(_ANSWERS)


@dataclass(frozen=True)
class RetrainingHistory:
    """Everything that the policy asks about one model, each part sorted by time (UTC).

    Attributes:
        labels: When a person labelled an image of the review queue, whether or not the data set could use it.
        served: Which version was to be served, and from when; versions of other models too, as there is one service.
        retrainings: The decisions that fired.
    """

    alerts: tuple[DriftAlert, ...] = ()
    labels: tuple[datetime, ...] = ()
    served: tuple[ServedVersion, ...] = ()
    retrainings: tuple[PastRetraining, ...] = ()


@dataclass(frozen=True)
class DecisionRecord:
    """One decision, to be written."""

    decided_at: datetime
    model_name: str
    model_version: int
    fired: bool
    reasons: Sequence[str]
    new_labels: int
    flow_run_id: str | None = None


def retraining_history(database: Database, model_name: str) -> RetrainingHistory:
    """Everything that is stored; with all labels of a model, eight bytes and some each.

    Raises:
        DependencyError: The database does not answer.
    """
    alert, item, wish, past = DriftAlertRow, ReviewItemRow, DesiredModelRow, RetrainingRow
    with database.transaction() as connection:
        alerts = connection.execute(
            select(alert.raised_at, alert.model_version).where(alert.model_name == model_name).order_by(alert.raised_at)
        ).all()
        labels = connection.execute(
            select(item.decided_at)
            .where(item.model_name == model_name, item.status.in_(LABELLED_STATUSES), item.decided_at.is_not(None))
            .order_by(item.decided_at)
        ).scalars()
        served = connection.execute(
            select(wish.requested_at, wish.model_name, wish.model_version).order_by(wish.seq)
        ).all()
        retrainings = connection.execute(
            select(past.decided_at, past.outcome, past.dataset_tag)
            .where(past.model_name == model_name, past.fired)
            .order_by(past.decided_at, past.seq)
        ).all()
        return RetrainingHistory(
            alerts=tuple(DriftAlert(*row) for row in alerts),
            labels=tuple(moment for moment in labels if moment is not None),
            served=tuple(
                ServedVersion(since, version) if name == model_name else ServedVersion(since, 0, name)
                for since, name, version in served
            ),
            retrainings=tuple(PastRetraining(*row) for row in retrainings),
        )


def record_decision(database: Database, record: DecisionRecord, outcome: str) -> int:
    """Writes a decision; its number.

    Raises:
        DependencyError: The database does not answer; nothing was recorded.
    """
    with database.transaction() as connection:
        return _insert(connection, record, outcome)


def claim_retraining(database: Database, record: DecisionRecord, stale_after: timedelta) -> int | None:
    """Writes a decision that fired as ``running``, unless another of its model is; its number, or None.

    Of two processes that ask at once, one gets the number. A training that has been running for longer than
    ``stale_after`` is noted as abandoned.

    Raises:
        DependencyError: The database does not answer; nothing was recorded.
    """
    row = RetrainingRow
    others = (row.model_name == record.model_name, row.outcome == RUNNING)
    stale_before = record.decided_at - stale_after
    with database.transaction() as connection:
        lock_for_writing(connection, row.__tablename__)
        # The first change: what is asked afterwards holds until the end, in SQLite too.
        connection.execute(
            update(row)
            .where(*others, row.decided_at < stale_before)
            .values(outcome=f"abandoned: no outcome within {stale_after}")
        )
        if connection.execute(select(row.seq).where(*others).limit(1)).first():
            return None
        return _insert(connection, record, RUNNING)


def note_dataset_tag(database: Database, seq: int, dataset_tag: str) -> None:
    """Adds to a decision which version of the data set it trains on.

    Raises:
        DependencyError: The database does not answer.
    """
    with database.transaction() as connection:
        connection.execute(update(RetrainingRow).where(RetrainingRow.seq == seq).values(dataset_tag=dataset_tag))


def finish_retraining(database: Database, seq: int, outcome: str) -> None:
    """Writes what came of a training.

    Raises:
        DependencyError: The database does not answer.
    """
    with database.transaction() as connection:
        connection.execute(
            update(RetrainingRow).where(RetrainingRow.seq == seq).values(outcome=outcome[:_LONGEST_OUTCOME])
        )


def _insert(connection: Connection, record: DecisionRecord, outcome: str) -> int:
    values = {**vars(record), "reasons": list(record.reasons), "outcome": outcome[:_LONGEST_OUTCOME]}
    return connection.execute(insert(RetrainingRow).values(values).returning(RetrainingRow.seq)).scalar_one()
