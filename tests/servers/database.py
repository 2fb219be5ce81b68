"""Databases of predictions: a test that asks for one runs twice, on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onsight.db import Database, open_database, upgrade


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without a table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/predictions.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    """With the newest schema, and empty."""
    opened = open_database(empty_url)
    upgrade(opened)
    yield opened
    opened.close()
