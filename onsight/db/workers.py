"""What each process of the service serves, so that any of them can say whether all have followed a wish."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import Executable, bindparam, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from onsight.db.engine import Database
from onsight.db.tables import WorkerRow

__all__ = ["ALIVE_WITHIN_S", "WorkerReport", "forget_worker", "live_workers", "report_worker"]

# A worker reports every two seconds, and at once when it has swapped.
ALIVE_WITHIN_S = 7.0
_FORGOTTEN_AFTER_S = 3600.0


@dataclass(frozen=True)
class WorkerReport:
    """One process of the service.

    Attributes:
        replica: The host that it runs on.
        bundle_name: What it serves; empty when it serves nothing.
        seen_seq: The newest wish that it has dealt with.
        problem: Why it does not serve that wish; empty when it does.
        reported_at: UTC.
    """

    worker_id: str
    replica: str
    pid: int
    bundle_name: str
    seen_seq: int
    problem: str
    reported_at: datetime


def _upsert(build: Callable[[type[WorkerRow]], postgresql.Insert | sqlite.Insert]) -> Executable:
    statement = build(WorkerRow)
    columns = {field.name: statement.excluded[field.name] for field in fields(WorkerReport)}
    return statement.on_conflict_do_update(index_elements=["worker_id"], set_=columns)


# Made once: to make them took longer than the database does, and every worker reports again and again.
_UPSERTS = {"postgresql": _upsert(postgresql.insert), "sqlite": _upsert(sqlite.insert)}
_FORGET_OLD = delete(WorkerRow).where(WorkerRow.reported_at < bindparam("gone"))


def report_worker(database: Database, report: WorkerReport) -> None:
    """Writes what a worker serves, and forgets those that are long gone.

    Raises:
        DependencyError: The database does not answer.
    """
    gone = datetime.now(UTC) - timedelta(seconds=_FORGOTTEN_AFTER_S)
    with database.transaction() as connection:
        connection.execute(_UPSERTS[connection.dialect.name], {**vars(report), "problem": report.problem[:500]})
        connection.execute(_FORGET_OLD, {"gone": gone})


def forget_worker(database: Database, worker_id: str) -> None:
    """Takes a worker that ends in good order off the list.

    Raises:
        DependencyError: The database does not answer.
    """
    with database.transaction() as connection:
        connection.execute(delete(WorkerRow).where(WorkerRow.worker_id == worker_id))


def live_workers(database: Database, also: Collection[str] = ()) -> list[WorkerReport]:
    """The workers that have reported lately, by replica and process.

    Args:
        also: Further workers, by id, that are given even if they have fallen silent, unless they ended in good order.

    Raises:
        DependencyError: The database does not answer.
    """
    row = WorkerRow
    since = datetime.now(UTC) - timedelta(seconds=ALIVE_WITHIN_S)
    query = (
        select(row.worker_id, row.replica, row.pid, row.bundle_name, row.seen_seq, row.problem, row.reported_at)
        .where(or_(row.reported_at >= since, row.worker_id.in_(also)))
        .order_by(row.replica, row.pid)
    )
    with database.transaction() as connection:
        return [WorkerReport(*found) for found in connection.execute(query)]
