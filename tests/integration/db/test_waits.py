"""A Postgres that stands still is waited for no longer than allowed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from psycopg2.extensions import set_wait_callback

from onsight.db import Database, limit_waits, newest_desired, open_database, record_desired, upgrade
from onsight.errors import DependencyError
from tests.servers.postgres import PostgresServer


@pytest.fixture
def database(stoppable_postgres: PostgresServer) -> Iterator[Database]:
    opened = open_database(stoppable_postgres.create_database())
    limit_waits(1.0)
    yield opened
    set_wait_callback(None)
    opened.close()


def test_frozen_server_is_waited_for_as_long_as_allowed(database: Database, stoppable_postgres: PostgresServer) -> None:
    upgrade(database)
    record_desired(database, "cells", 1, requested_by="test", reason="")

    with stoppable_postgres.frozen():
        began_s = time.monotonic()
        # The first one waits on a pooled connection, the second one for a new one.
        for _ in range(2):
            with pytest.raises(DependencyError, match="does not answer"):
                newest_desired(database)
        waited_s = time.monotonic() - began_s

    assert 2 <= waited_s < 8
    newest = newest_desired(database)
    assert newest is not None
    assert newest.bundle_name == "cells-v1"


def test_limit_shortened_meanwhile_ends_waits_under_way(database: Database, stoppable_postgres: PostgresServer) -> None:
    limit_waits(60)
    database.check()
    failed = threading.Event()

    def ask() -> None:
        with pytest.raises(DependencyError):
            database.check()
        failed.set()

    with stoppable_postgres.frozen():
        thread = threading.Thread(target=ask)
        thread.start()
        assert not failed.wait(1)
        limit_waits(0.1)
        assert failed.wait(5)
        thread.join()


def test_large_statements_pass(database: Database) -> None:
    with database.transaction() as connection:
        text = "x" * 5_000_000
        assert connection.exec_driver_sql("SELECT length(%s)", (text,)).scalar_one() == len(text)
