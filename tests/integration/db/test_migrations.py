"""Databases of earlier schemas, with rows in them, are brought to the newest one and keep every row."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, func, inspect, select

from onsight.db import (
    Database,
    DriftAlertRecord,
    WindowQuery,
    WorkerReport,
    create_api_key,
    find_prediction,
    live_workers,
    newest_desired,
    newest_drift_alert,
    open_database,
    read_window,
    record_desired,
    report_worker,
    upgrade,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_ID = "019a8f2e-6c1b-7a40-8d2f-3b9e6f1c2d47"
# A row of each table, with the columns that its first schema had.
ROWS: dict[str, dict[str, Any]] = {
    "predictions": {
        "prediction_id": _ID,
        "request_id": "before",
        "model_name": "cells",
        "model_version": 1,
        "created_at": NOON,
        "probabilities": [0.25, 0.75],
        "top_class": "defect",
        "confidence": 0.75,
        "uae_feats": [1.0, -2.5],
        "bbsd_feats": [0.25, 0.75],
        "image_sha256": "0" * 64,
        "image_bytes": 1000,
        "image_width": 300,
        "image_height": 200,
        "image_format": "PNG",
        "client": "127.0.0.1",
        "timings_ms": {"decode": 1.5},
    },
    "api_log": {
        "call_id": _ID,
        "request_id": "before",
        "route": "/predict",
        "method": "POST",
        "status": 200,
        "code": "",
        "latency_ms": 3.5,
        "client": "127.0.0.1",
        "at": NOON,
    },
    "desired_model": {
        "model_name": "cells",
        "model_version": 1,
        "requested_at": NOON,
        "requested_by": "flow",
        "reason": "first",
    },
    "service_workers": {
        "worker_id": "a-1",
        "replica": "a",
        "pid": 1,
        "bundle_name": "cells-v1",
        "seen_seq": 1,
        "problem": "",
        "reported_at": NOON,
    },
    "api_keys": {
        "key_id": "0" * 12,
        "name": "line-3",
        "sha256": "0" * 64,
        "hint": "abcd",
        "scopes": "predict",
        "created_at": NOON,
    },
}


def migrate_to(connection: Connection, revision: str) -> None:
    """What an earlier release did at its start."""
    config = Config()
    folder = Path(str(sys.modules["onsight.db"].__file__)).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def fill(connection: Connection) -> dict[str, int]:
    """A row in every table that is there; gives the tables' rows."""
    tables = MetaData()
    tables.reflect(connection)
    held = {name: table for name, table in tables.tables.items() if name != "alembic_version"}
    for name, table in held.items():
        row = ROWS[name]
        if connection.dialect.name == "sqlite":  # it has no type for them, and keeps 32 digits
            row = {column: value.replace("-", "") if value == _ID else value for column, value in row.items()}
        connection.execute(table.insert().values(row))
    return count(connection, held)


def count(connection: Connection, tables: dict[str, Any]) -> dict[str, int]:
    return {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one() for name, table in tables.items()
    }


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_upgrade_when_an_earlier_schema_holds_rows_then_keeps_them_and_works_on(revision: str, empty_url: str) -> None:
    database = open_database(empty_url)
    with database.transaction() as connection:
        migrate_to(connection, revision)
        before = fill(connection)

    upgrade(database)

    with database.transaction() as connection:
        tables = MetaData()
        tables.reflect(connection)
        assert count(connection, {name: tables.tables[name] for name in before}) == before
        assert set(ROWS) <= set(inspect(connection).get_table_names())
    assert_works_on(database)
    database.close()


def assert_works_on(database: Database) -> None:
    """Today's code reads the old rows and adds new ones."""
    window = read_window(database, WindowQuery("cells", 1, max_rows=10, kept_rows=10))
    assert window.bbsd_feats.tolist() == [[0.25, 0.75]]
    found = find_prediction(database, _ID)
    assert found is not None
    assert (found.top_class, found.created_at) == ("defect", NOON)
    wish = newest_desired(database)
    assert wish is not None
    assert (wish.bundle_name, wish.kind, wish.reason) == ("cells-v1", "update", "first")

    record_desired(database, "cells", 2, requested_by="flow", reason="better")
    report_worker(database, WorkerReport("b-1", "b", 2, "cells-v2", wish.seq + 1, "", datetime.now(UTC)))
    create_api_key(database, "line-4", ["predict"])

    newest = newest_desired(database)
    assert newest is not None
    assert newest.bundle_name == "cells-v2"
    assert [worker.worker_id for worker in live_workers(database)] == ["b-1"]


def test_upgrade_when_an_earlier_release_raised_an_alert_then_it_counts_as_told(empty_url: str) -> None:
    database = open_database(empty_url)
    with database.transaction() as connection:
        migrate_to(connection, "0005")
        tables = MetaData()
        tables.reflect(connection)
        run_id = _ID.replace("-", "") if connection.dialect.name == "sqlite" else _ID
        alert = {"run_id": run_id, "raised_at": NOON, "model_name": "cells", "model_version": 1}
        connection.execute(tables.tables["drift_alerts"].insert().values(alert | {"cause": "darker", "report": "r"}))

    upgrade(database)

    assert newest_drift_alert(database, "cells", 1) == DriftAlertRecord(_ID, NOON, "cells", 1, "darker", "r", NOON)
    database.close()
