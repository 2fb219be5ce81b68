"""Bringing the predictions database to the newest schema, by several processes at once if need be."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from onsight.db.engine import Database, open_database
from onsight.errors import OnsightError

__all__ = ["upgrade"]

_FOLDER = Path(__file__).parent / "migrations"
# Each file begins with its revision, and they are numbered in their order.
_NEWEST = max(path.name[:4] for path in (_FOLDER / "versions").glob("[0-9]*.py"))
# Any fixed number will do: processes that migrate the same database must ask for the same lock.
_ADVISORY_LOCK = 0x0_4E51_6874


def upgrade(target: str | Database) -> None:
    """Runs the migrations that are missing. Does nothing on a database that is up to date.

    Args:
        target: A database URL, or an open database.

    Raises:
        DependencyError: The database does not answer.
        OnsightError: It holds a schema that this release does not know.
    """
    database = open_database(target) if isinstance(target, str) else target
    try:
        with _file_lock(database), database.transaction() as connection:
            if connection.dialect.name == "postgresql":
                # Held to the end of the transaction: a second process waits, then finds nothing left to do.
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            if _revision(connection) != _NEWEST:
                _migrate(connection)
    finally:
        if isinstance(target, str):
            database.close()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: Connection) -> None:
    # Half a dozen packages come with it, and nearly every start finds nothing to do.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise OnsightError(
            f"the predictions database cannot be migrated: {error}",
            "it was made by a newer release: run that one, or restore a backup of the database",
        ) from error


@contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    url = database.engine.url
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        yield
        return
    path = Path(url.database)
    with path.with_name(f"{path.name}.migrate-lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
