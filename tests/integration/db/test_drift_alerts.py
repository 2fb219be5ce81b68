"""Alerts in the database: raised once within a cool-down whoever asks, and told when somebody took them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from onsight.db import (
    Database,
    DriftAlertRecord,
    alerted_runs,
    count_drift_alerts,
    mark_alert_told,
    newest_drift_alert,
    open_database,
    raise_drift_alert,
    uuid7,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR


def alert(raised_at: datetime = NOON, version: int = 1) -> DriftAlertRecord:
    return DriftAlertRecord(uuid7(), raised_at, "cells", version, "darker", "report.html")


@pytest.mark.parametrize(
    ("told_after", "asked_after", "raised"),
    [(None, 23 * HOUR, False), (None, DAY, True), (2 * HOUR, 25 * HOUR, False), (2 * HOUR, 26 * HOUR, True)],
    ids=["untold", "untold and stale", "told", "told long ago"],
)
def test_raise_drift_alert_when_there_is_one_then_waits_for_the_cool_down(
    database: Database, told_after: timedelta | None, asked_after: timedelta, raised: bool
) -> None:
    first, second = alert(), alert(NOON + asked_after)
    assert raise_drift_alert(database, first, DAY)
    if told_after is not None:
        mark_alert_told(database, first.run_id, NOON + told_after)
        mark_alert_told(database, first.run_id, NOON + 10 * DAY)

    assert raise_drift_alert(database, second, DAY) == raised
    assert raise_drift_alert(database, alert(NOON + asked_after, version=2), DAY)

    told_at = None if told_after is None else NOON + told_after
    assert newest_drift_alert(database, "cells", 1) == (second if raised else replace(first, told_at=told_at))
    assert count_drift_alerts(database) == {"cells": 3 if raised else 2}
    assert first.run_id in alerted_runs(database)
    assert (second.run_id in alerted_runs(database)) == raised


def test_raise_drift_alert_when_several_runs_ask_at_once_then_one_does(empty_url: str, database: Database) -> None:
    def ask(number: int) -> bool:
        own = open_database(empty_url)
        try:
            return raise_drift_alert(own, alert(NOON + timedelta(seconds=number)), DAY)
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(24))) == 1
    assert count_drift_alerts(database) == {"cells": 1}


def test_raise_drift_alert_when_texts_are_long_then_cuts_them(database: Database) -> None:
    raise_drift_alert(database, replace(alert(), cause="c" * 900, report="r" * 900), DAY)

    found = newest_drift_alert(database, "cells", 1)

    assert found is not None
    assert (found.cause, found.report) == ("c" * 500, "r" * 500)
