"""The desired version: an append-only log whose newest row says what the service should serve."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import func, insert, literal, select

from onsight.db.engine import Database, lock_for_writing
from onsight.db.tables import DesiredModelRow

__all__ = [
    "DesiredModel",
    "WishKind",
    "newest_desired",
    "record_desired",
    "record_rollback",
    "rollback_target",
    "wished_versions",
]

WishKind = Literal["update", "rollback"]


_ROW = DesiredModelRow
_COLUMNS = (
    _ROW.seq,
    _ROW.kind,
    _ROW.model_name,
    _ROW.model_version,
    _ROW.requested_by,
    _ROW.reason,
    _ROW.requested_at,
)
# Every worker asks for it four times a second: made anew, a statement costs more CPU than the answer.
_NEWEST = select(*_COLUMNS).order_by(_ROW.seq.desc()).limit(1)


@dataclass(frozen=True)
class DesiredModel:
    """One wish: this version of this model, by whom, when and why.

    Attributes:
        seq: Its place in the log.
        kind: A rollback takes an update back.
        requested_at: UTC.
    """

    seq: int
    kind: WishKind
    model_name: str
    model_version: int
    requested_by: str
    reason: str
    requested_at: datetime

    @property
    def bundle_name(self) -> str:
        """``<model_name>-v<version>``."""
        return f"{self.model_name}-v{self.model_version}"


def record_desired(
    database: Database, model_name: str, model_version: int, *, requested_by: str, reason: str
) -> DesiredModel:
    """Adds a wish; from now on it is the newest.

    Raises:
        DependencyError: The database does not answer; nothing was recorded.
    """
    values = {
        "kind": "update",
        "model_name": model_name,
        "model_version": model_version,
        "requested_at": datetime.now(UTC),
        "requested_by": requested_by[:128],
        "reason": reason[:500],
    }
    with database.transaction() as connection:
        found = connection.execute(insert(DesiredModelRow).values(values).returning(*_COLUMNS)).one()
    return DesiredModel(*found)


def record_rollback(database: Database, wrong: DesiredModel, *, requested_by: str, reason: str) -> DesiredModel | None:
    """Wishes for what was served before ``wrong``, unless another wish has come since or there was nothing before.

    Several workers may find the same version wrong at once: one of them records it.

    Raises:
        DependencyError: The database does not answer; nothing was recorded.
    """
    target = rollback_target(database)
    if target is None:
        return None
    row = DesiredModelRow
    columns = ("kind", "model_name", "model_version", "requested_at", "requested_by", "reason")
    values = (
        literal("rollback"),
        literal(target.model_name),
        literal(target.model_version),
        literal(datetime.now(UTC), row.requested_at.type),
        literal(requested_by[:128]),
        literal(reason[:500]),
    )
    newest = select(func.max(row.seq)).scalar_subquery()
    with database.transaction() as connection:
        lock_for_writing(connection, row.__tablename__)
        statement = insert(row).from_select(columns, select(*values).where(newest == wrong.seq)).returning(*_COLUMNS)
        found = connection.execute(statement).one_or_none()
    return DesiredModel(*found) if found else None


def newest_desired(database: Database) -> DesiredModel | None:
    """The wish that holds, or None when there never was one.

    Raises:
        DependencyError: The database does not answer.
    """
    with database.transaction() as connection:
        found = connection.execute(_NEWEST).one_or_none()
    return DesiredModel(*found) if found else None


def wished_versions(database: Database, model_name: str) -> frozenset[int]:
    """Every version of a model that the service was ever asked to serve.

    Raises:
        DependencyError: The database does not answer.
    """
    query = select(_ROW.model_version).where(_ROW.model_name == model_name).distinct()
    with database.transaction() as connection:
        return frozenset(connection.execute(query).scalars())


def rollback_target(database: Database) -> DesiredModel | None:
    """The wish that a rollback returns to: each rollback on record has taken the update before it back.

    Raises:
        DependencyError: The database does not answer.
    """
    served: list[DesiredModel] = []
    with database.transaction() as connection:
        for found in connection.execute(select(*_COLUMNS).order_by(DesiredModelRow.seq)):
            wish = DesiredModel(*found)
            if wish.kind == "rollback":
                served = served[:-1]
            elif not served or served[-1].bundle_name != wish.bundle_name:
                served.append(wish)
    return served[-2] if len(served) > 1 else None
