"""Opening databases, and the errors of those that cannot be opened."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from onsight.db import newest_desired, open_database, upgrade
from onsight.db.tables import UtcDateTime
from onsight.errors import ConfigError, DependencyError, OnsightError


@pytest.mark.parametrize("url", ["", "nonsense", "nosuchdb://host/name", "mssql://host/name"])
def test_open_database_with_a_wrong_url_says_what_to_use(url: str) -> None:
    with pytest.raises(ConfigError, match="ONSIGHT_DATABASE_URL") as caught:
        open_database(url)

    assert "postgresql://" in caught.value.hint


def test_open_database_of_sqlite_makes_the_folder(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/new/folder/predictions.db")
    upgrade(database)

    assert (tmp_path / "new/folder/predictions.db").exists()
    assert newest_desired(database) is None
    database.close()


def test_check_when_nothing_listens_raises_a_dependency_error_without_the_password() -> None:
    database = open_database("postgresql://someone:secret@127.0.0.1:1/none")

    with pytest.raises(DependencyError) as caught:
        database.check()

    assert "does not answer" in caught.value.message
    assert "secret" not in str(caught.value)
    database.close()


def test_transaction_when_the_statement_is_refused_is_no_dependency_error(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/empty.db")

    with pytest.raises(OnsightError) as caught:
        newest_desired(database)

    assert "no such table" in caught.value.message
    database.close()


def test_times_without_a_zone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), None)  # type: ignore[arg-type]  # noqa: DTZ001
