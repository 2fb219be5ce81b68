"""The desired version: an append-only log whose newest row says what the service should serve."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import insert, select

from onsight.db.engine import Database
from onsight.db.tables import DesiredModelRow

__all__ = ["DesiredModel", "desired_history", "newest_desired", "record_desired"]


@dataclass(frozen=True)
class DesiredModel:
    """One wish: this version of this model, by whom, when and why.

    Attributes:
        requested_at: UTC.
    """

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
    desired = DesiredModel(model_name, model_version, requested_by[:128], reason[:500], datetime.now(UTC))
    with database.transaction() as connection:
        connection.execute(
            insert(DesiredModelRow).values(
                model_name=desired.model_name,
                model_version=desired.model_version,
                requested_by=desired.requested_by,
                reason=desired.reason,
                requested_at=desired.requested_at,
            )
        )
    return desired


def newest_desired(database: Database) -> DesiredModel | None:
    """The wish that holds, or None when there never was one.

    Raises:
        DependencyError: The database does not answer.
    """
    history = desired_history(database, limit=1)
    return history[0] if history else None


def desired_history(database: Database, limit: int = 100) -> list[DesiredModel]:
    """The wishes, newest first.

    Raises:
        DependencyError: The database does not answer.
    """
    row = DesiredModelRow
    query = (
        select(row.model_name, row.model_version, row.requested_by, row.reason, row.requested_at)
        .order_by(row.seq.desc())
        .limit(limit)
    )
    with database.transaction() as connection:
        return [DesiredModel(*found) for found in connection.execute(query)]
