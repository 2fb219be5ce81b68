"""When a drift is confirmed: k of the last n verdicts on different windows, and the cool-down after an alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from onsight.config import AlertConfig
from onsight.db import DriftAlertRecord, DriftResultRecord, VerdictWord
from onsight.monitoring import confirm_drift

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORDS: dict[str, VerdictWord] = {"D": "drift", "-": "no drift", "?": "not enough data"}


def verdict(letter: str, hour: int, window: int | None = None) -> DriftResultRecord:
    end = NOON + timedelta(hours=hour if window is None else window)
    return DriftResultRecord(
        f"run-{hour}", NOON + timedelta(hours=hour), "cells", 1, "combined", "permutation", WORDS[letter], 1.0, 0.001,
        0.01, 500, 100, NOON, end,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("history", "drifted", "of_last", "confirmed", "counted"),
    [
        ("D", 1, 1, True, 1),
        ("D", 2, 3, False, 1),
        ("DD", 2, 3, True, 2),
        ("D-D", 2, 3, True, 2),
        ("D--D", 2, 3, False, 1),
        ("DD-", 2, 3, False, 2),
        ("D?D", 2, 2, True, 2),
        ("DDDDD?", 2, 3, False, 3),
        ("DDDDD", 3, 3, True, 3),
    ],
)
def test_confirm_drift_counts_the_last_verdicts(
    history: str, drifted: int, of_last: int, confirmed: bool, counted: int
) -> None:
    verdicts = [verdict(letter, hour) for hour, letter in enumerate(history)]

    found = confirm_drift(verdicts[-1], verdicts[-2::-1], None, AlertConfig(drifted=drifted, of_last=of_last))

    assert (found.is_confirmed, found.n_drift, found.is_due) == (confirmed, counted, confirmed)


def test_confirm_drift_when_nothing_came_since_then_the_window_counts_once() -> None:
    past = [verdict("D", 2, window=1), verdict("D", 1, window=1)]

    found = confirm_drift(verdict("D", 3, window=1), past, None, AlertConfig(drifted=2, of_last=3))

    assert (found.is_confirmed, found.n_drift, found.n_verdicts) == (False, 1, 1)


def alert_of(hours_ago: int, told_hours_ago: int | None) -> DriftAlertRecord:
    """Raised and told so long before hour 200."""
    now = NOON + timedelta(hours=200)
    told_at = None if told_hours_ago is None else now - timedelta(hours=told_hours_ago)
    return DriftAlertRecord("run", now - timedelta(hours=hours_ago), "cells", 1, "darker", "r.html", told_at)


@pytest.mark.parametrize(("hours_ago", "due"), [(1, False), (23, False), (24, True), (100, True)])
def test_confirm_drift_when_people_were_told_then_waits_for_the_cool_down(hours_ago: int, due: bool) -> None:
    now, alert = verdict("D", 200), alert_of(hours_ago + 10, hours_ago)
    assert alert.told_at is not None

    found = confirm_drift(now, [], alert, AlertConfig(drifted=1, of_last=1, cool_down_hours=24))

    assert (found.is_confirmed, found.is_due, found.untold) == (True, due, None)
    assert found.quiet_until == (None if due else alert.told_at + timedelta(hours=24))


@pytest.mark.parametrize(("hours_ago", "pending"), [(1, True), (23, True), (24, False)])
def test_confirm_drift_when_nobody_was_told_then_the_alert_is_due_until_it_is_stale(
    hours_ago: int, pending: bool
) -> None:
    alert = alert_of(hours_ago, None)

    found = confirm_drift(verdict("D", 200), [], alert, AlertConfig(drifted=1, of_last=1, cool_down_hours=24))

    assert (found.is_due, found.quiet_until) == (True, None)
    assert found.untold == (alert if pending else None)


def test_alert_config_when_it_asks_for_more_than_it_looks_at_then_is_refused() -> None:
    with pytest.raises(ValueError, match=r"is smaller than drifted \(4\)"):
        AlertConfig(drifted=4, of_last=3)
