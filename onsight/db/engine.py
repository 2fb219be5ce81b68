"""Opening the predictions database: one pooled engine per process, for Postgres or for an SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from onsight.errors import ConfigError, DependencyError, OnsightError

__all__ = ["Database", "insert_into", "lock_for_writing", "open_database"]

_CONNECT_TIMEOUT_S = 5
_STATEMENT_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Database:
    """An open predictions database; close it when done."""

    engine: Engine

    @property
    def address(self) -> str:
        """The URL without its password, for messages."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction that commits at the end of the block.

        Raises:
            DependencyError: The database does not answer, or lost the connection.
            OnsightError: It answers and refuses what was asked.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate(error, self.address) from error

    def check(self) -> None:
        """Asks the database for an answer.

        Raises:
            DependencyError: It gives none.
        """
        with self.transaction() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Closes every pooled connection."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Makes the engine; connects at the first use. The folder of an SQLite file is made.

    Args:
        url: An SQLAlchemy URL: ``postgresql://user:password@host/name`` or ``sqlite:///path``.

    Raises:
        ConfigError: The URL is no SQLAlchemy URL of a database that Onsight supports.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return Database(_sqlite_engine(parsed))
    options = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": "onsight",
        "options": f"-c timezone=UTC -c statement_timeout={_STATEMENT_TIMEOUT_MS}",
        # A server that vanished without a word is noticed after seconds, not after the kernel's two hours.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    return Database(create_engine(parsed, pool_pre_ping=True, pool_size=5, connect_args=options))


def insert_into(connection: Connection, row: type[DeclarativeBase]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can be told what to do about rows that are there already; each database has its own."""
    return postgresql.insert(row) if connection.dialect.name == "postgresql" else sqlite.insert(row)


def lock_for_writing(connection: Connection, table: str) -> None:
    """Lets nobody else write to a table until the transaction ends: two that insert at once see no row of each other.

    SQLite needs no word for it: its first change locks the whole file.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))


def translate(error: SQLAlchemyError, address: str) -> OnsightError:
    """The platform's error for one of SQLAlchemy's."""
    first_line = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or isinstance(error, OperationalError | InterfaceError):
        return DependencyError(
            f"the predictions database {address} does not answer: {first_line}",
            "start it, or set ONSIGHT_DATABASE_URL to one that runs",
            database=address,
        )
    return OnsightError(f"the predictions database {address} refused: {first_line}", database=address)


def _parse(url: str) -> URL:
    hint = "use postgresql://user:password@host/name or sqlite:///path"
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError("ONSIGHT_DATABASE_URL is no database URL", hint) from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(
            f"ONSIGHT_DATABASE_URL names {parsed.get_backend_name()}, which Onsight does not support", hint
        )
    return parsed


def _dump_json(value: object) -> str:
    return orjson.dumps(value).decode()


def _sqlite_engine(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 10}, json_serializer=_dump_json)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: ConnectionPoolEntry) -> None:  # noqa: ANN401 - the driver's own type
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    return engine
