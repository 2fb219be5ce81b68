"""The replay of a policy: fires when the policy would have, in place of the trainings that there were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from onsight.config import RetrainingConfig
from onsight.db import DriftAlert, PastRetraining, RetrainingHistory, ServedVersion
from onsight.retraining import backtest

START = datetime(2026, 3, 1, tzinfo=UTC)
SERVED = (ServedVersion(START, 1),)
HOUR = timedelta(hours=1)


def firings(policy: RetrainingConfig, history: RetrainingHistory, days: int = 30) -> list[datetime]:
    return [firing.at for firing in backtest(policy, history, HOUR, START + timedelta(days=days))]


def test_backtest_when_there_is_no_event_then_never_fires() -> None:
    assert firings(RetrainingConfig(), RetrainingHistory(served=SERVED)) == []


def test_backtest_when_an_alert_was_raised_then_fires_once_at_the_next_moment() -> None:
    raised = START + timedelta(days=2, minutes=20)
    history = RetrainingHistory(alerts=(DriftAlert(raised, 1),), served=SERVED)
    assert firings(RetrainingConfig(cool_down_h=0), history) == [START + timedelta(days=2, hours=1)]


def test_backtest_when_labels_come_in_steadily_then_fires_at_each_hundred() -> None:
    labels = tuple(START + n * HOUR for n in range(1, 351))
    policy = RetrainingConfig(new_labels=100, cool_down_h=0)
    wanted = [START + 100 * HOUR, START + 200 * HOUR, START + 300 * HOUR]
    assert firings(policy, RetrainingHistory(labels=labels, served=SERVED)) == wanted


def test_backtest_when_there_is_a_cool_down_then_waits_for_it_and_for_the_hours() -> None:
    alerts = tuple(DriftAlert(START + timedelta(days=day), 1) for day in range(1, 12))
    policy = RetrainingConfig(cool_down_h=72, allowed_hours=(22, 6))
    history = RetrainingHistory(alerts=alerts, served=SERVED)
    assert firings(policy, history) == [START + timedelta(days=day) for day in (1, 4, 7, 10)] + [
        START + timedelta(days=13)
    ]


def test_backtest_when_trainings_are_on_record_then_replaces_them() -> None:
    raised = START + timedelta(days=1)
    past = (PastRetraining(raised - HOUR, "running"), PastRetraining(raised + HOUR, "promoted: cells-v2"))
    history = RetrainingHistory(alerts=(DriftAlert(raised, 1),), served=SERVED, retrainings=past)
    assert firings(RetrainingConfig(), history) == [raised]


def test_backtest_when_the_history_is_long_then_gives_each_firing() -> None:
    labels = tuple(START + timedelta(minutes=n) for n in range(100_000))
    policy = RetrainingConfig(new_labels=19_900)
    assert len(firings(policy, RetrainingHistory(labels=labels, served=SERVED), days=365)) == 5


def test_backtest_when_another_model_was_served_meanwhile_then_waits_for_this_one() -> None:
    raised = START + timedelta(days=2)
    served = (*SERVED, ServedVersion(START + HOUR, 0, "cracks"), ServedVersion(START + timedelta(days=5), 1))
    history = RetrainingHistory(alerts=(DriftAlert(raised, 1),), served=served)
    assert firings(RetrainingConfig(), history) == [START + timedelta(days=5)]
