"""The drift monitor's results as metrics: read from the database, kept while it is away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from onsight.db import (
    Database,
    DriftAlertRecord,
    DriftResultRecord,
    open_database,
    raise_drift_alert,
    record_drift_results,
    upgrade,
    uuid7,
)
from services.dl_service.drift_watch import DriftWatch
from services.dl_service.metrics import Metrics

MOST_TELLING = ("test", "report", "version", "model")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/predictions.db")
    upgrade(opened)
    yield opened
    opened.close()


def record_run(database: Database, verdict: str, at: datetime, *, confirmed: bool = False) -> str:
    run_id = uuid7()
    row = DriftResultRecord(
        run_id, at, "cells", 3, "combined", "permutation", verdict, 1.5,  # type: ignore[arg-type]
        None if verdict == "not enough data" else 0.002, 0.01, 500, 200, at, at, {"confirmed": confirmed},
    )  # fmt: skip
    record_drift_results(database, [replace(row, test="uae", p_value=0.5, verdict="no drift"), row])
    return run_id


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Values by name and by the label that says the most."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, next(sample.labels[name] for name in MOST_TELLING if name in sample.labels)): sample.value
        for family in families
        for sample in family.samples
        if "drift" in sample.name
    }


def test_drift_watch_when_nothing_was_tested_then_gives_no_sample(database: Database) -> None:
    metrics = Metrics()

    assert DriftWatch(database, metrics.drift).refresh()
    assert samples(metrics) == {}


def test_drift_watch_when_a_drift_was_told_then_shows_the_newest_run_and_alert(database: Database) -> None:
    record_run(database, "no drift", NOON)
    run_id = record_run(database, "drift", NOON + timedelta(hours=1), confirmed=True)
    raise_drift_alert(
        database, DriftAlertRecord(run_id, NOON, "cells", 3, 'darker\n"quoted"', "r/1.html"), timedelta(hours=24)
    )
    metrics = Metrics()

    DriftWatch(database, metrics.drift).refresh()

    found = samples(metrics)
    assert found["onsight_drift_p_value", "uae"] == 0.5
    assert found["onsight_drift_p_value", "combined"] == 0.002
    assert found["onsight_drift_detected", "3"] == found["onsight_drift_confirmed", "3"] == 1
    assert found["onsight_drift_last_run_timestamp_seconds", "3"] == (NOON + timedelta(hours=1)).timestamp()
    assert found["onsight_drift_alerts_total", "cells"] == 1
    assert found["onsight_drift_alert_timestamp_seconds", "r/1.html"] == NOON.timestamp()


def test_drift_watch_when_there_is_too_little_data_then_gives_no_verdict(database: Database) -> None:
    record_run(database, "drift", NOON, confirmed=True)
    record_run(database, "not enough data", NOON + timedelta(hours=1))
    metrics = Metrics()

    DriftWatch(database, metrics.drift).refresh()

    found = samples(metrics)
    assert ("onsight_drift_p_value", "combined") not in found
    assert ("onsight_drift_detected", "3") not in found
    assert found["onsight_drift_confirmed", "3"] == 0


def test_drift_watch_when_the_database_goes_then_what_was_read_stays(database: Database, tmp_path: Path) -> None:
    record_run(database, "drift", NOON)
    metrics = Metrics()
    watch = DriftWatch(database, metrics.drift)
    watch.refresh()
    database.close()
    for path in tmp_path.glob("predictions.db*"):
        path.unlink()

    assert not watch.refresh()
    assert samples(metrics)["onsight_drift_detected", "3"] == 1


def test_drift_watch_when_started_then_reads_by_itself_and_ends(database: Database) -> None:
    record_run(database, "drift", NOON)
    metrics = Metrics()
    watch = DriftWatch(database, metrics.drift, refresh_s=0.01)
    watch.start()
    try:
        while not samples(metrics):
            pass
    finally:
        watch.close()
