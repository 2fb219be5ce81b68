"""Confirmed drifts: raised once in a cool-down, told when somebody took them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, insert, literal, select, update

from onsight.db.engine import Database, lock_for_writing
from onsight.db.monitoring_tables import DriftAlertRow

__all__ = [
    "DriftAlertRecord",
    "alerted_runs",
    "count_drift_alerts",
    "mark_alert_told",
    "newest_drift_alert",
    "raise_drift_alert",
]

_LONGEST_TEXT = 500


@dataclass(frozen=True)
class DriftAlertRecord:
    """One confirmed drift.

    Attributes:
        cause: One sentence.
        report: Where the report is.
        told_at: When the webhook took it, UTC; None while it has not.
    """

    run_id: str
    raised_at: datetime
    model_name: str
    model_version: int
    cause: str
    report: str
    told_at: datetime | None = None


def raise_drift_alert(database: Database, alert: DriftAlertRecord, cool_down: timedelta) -> bool:
    """Writes an alert, unless its version has one within the cool-down; a text is cut at 500 characters.

    Of several runs that ask at once, one writes.

    Args:
        cool_down: Counted from when an alert was told, of one that nobody was told yet from when it was raised.

    Returns:
        Whether it was written.

    Raises:
        DependencyError: The database does not answer; nothing was written.
    """
    row = DriftAlertRow
    recent = select(row.run_id).where(
        row.model_name == alert.model_name,
        row.model_version == alert.model_version,
        func.coalesce(row.told_at, row.raised_at) > alert.raised_at - cool_down,
    )
    values = asdict(alert) | {"cause": alert.cause[:_LONGEST_TEXT], "report": alert.report[:_LONGEST_TEXT]}
    literals = [literal(value, row.__table__.c[name].type) for name, value in values.items()]
    statement = insert(row).from_select([*values], select(*literals).where(~recent.exists())).returning(row.run_id)
    with database.transaction() as connection:
        lock_for_writing(connection, row.__tablename__)
        return connection.execute(statement).one_or_none() is not None


def mark_alert_told(database: Database, run_id: str, told_at: datetime) -> None:
    """Notes that people were told; the first time counts.

    Raises:
        DependencyError: The database does not answer.
    """
    row = DriftAlertRow
    with database.transaction() as connection:
        connection.execute(update(row).where(row.run_id == run_id, row.told_at.is_(None)).values(told_at=told_at))


def newest_drift_alert(database: Database, model_name: str, model_version: int) -> DriftAlertRecord | None:
    """The last alert about a version, or None.

    Raises:
        DependencyError: The database does not answer.
    """
    row = DriftAlertRow
    query = (
        select(row.run_id, row.raised_at, row.model_name, row.model_version, row.cause, row.report, row.told_at)
        .where(row.model_name == model_name, row.model_version == model_version)
        .order_by(row.raised_at.desc())
        .limit(1)
    )
    with database.transaction() as connection:
        found = connection.execute(query).one_or_none()
    return None if found is None else DriftAlertRecord(*found)


def count_drift_alerts(database: Database) -> dict[str, int]:
    """How many alerts there were of each model.

    Raises:
        DependencyError: The database does not answer.
    """
    row = DriftAlertRow
    with database.transaction() as connection:
        found = connection.execute(select(row.model_name, func.count()).group_by(row.model_name)).tuples().all()
    return dict(found)


def alerted_runs(database: Database) -> frozenset[str]:
    """The monitor's runs that raised an alert, of every model.

    Raises:
        DependencyError: The database does not answer.
    """
    with database.transaction() as connection:
        return frozenset(connection.execute(select(DriftAlertRow.run_id)).scalars())
