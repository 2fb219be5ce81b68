"""The policy's decision, case by case: triggers, cool-down, hours, a training under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from onsight.config import RetrainingConfig
from onsight.db import DriftAlert, PastRetraining, RetrainingHistory, ServedVersion
from onsight.retraining import decide, pending_dataset_tag

# A Wednesday.
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
SERVED = (ServedVersion(NOON - timedelta(days=30), 1), ServedVersion(NOON - timedelta(days=10), 2))
DRIFT = (DriftAlert(NOON - timedelta(hours=5), 2),)


def hours_ago(hours: float) -> datetime:
    return NOON - timedelta(hours=hours)


def labels(count: int, *, oldest_h: float = 4) -> tuple[datetime, ...]:
    return tuple(hours_ago(oldest_h) + timedelta(seconds=n) for n in range(count))


def fired(history: RetrainingHistory, now: datetime = NOON, **policy: object) -> bool:
    return decide(RetrainingConfig.model_validate(policy), history, now).fired


@pytest.mark.parametrize(
    ("when", "alerts", "n_labels", "wanted"),
    [
        ("any", (), 0, False),
        ("any", DRIFT, 0, True),
        ("any", (), 9, False),
        ("any", (), 10, True),
        ("all", DRIFT, 9, False),
        ("all", (), 10, False),
        ("all", DRIFT, 10, True),
    ],
)
def test_decide_when_triggers_stand_then_fires_by_any_or_all(
    when: str, alerts: tuple[DriftAlert, ...], n_labels: int, wanted: bool
) -> None:
    history = RetrainingHistory(alerts=alerts, labels=labels(n_labels), served=SERVED)
    assert fired(history, when=when, new_labels=10) is wanted


@pytest.mark.parametrize(
    ("policy", "alerts", "n_labels", "wanted"),
    [
        ({"new_labels": None}, DRIFT, 0, True),
        ({"new_labels": None, "when": "all"}, DRIFT, 0, True),
        ({"new_labels": None}, (), 1000, False),
        ({"drift_confirmed": False, "new_labels": 1}, DRIFT, 0, False),
        ({"drift_confirmed": False, "new_labels": 1, "when": "all"}, (), 1, True),
    ],
)
def test_decide_when_one_trigger_is_off_then_the_other_alone_counts(
    policy: dict[str, object], alerts: tuple[DriftAlert, ...], n_labels: int, wanted: bool
) -> None:
    assert fired(RetrainingHistory(alerts=alerts, labels=labels(n_labels), served=SERVED), **policy) is wanted


@pytest.mark.parametrize(
    ("alert", "wanted"),
    [
        (DriftAlert(hours_ago(1), 2), True),
        (DriftAlert(hours_ago(1), 1), False),
        (DriftAlert(hours_ago(-1), 2), False),
        (DriftAlert(NOON, 2), True),
    ],
    ids=["served version", "former version", "not yet raised", "raised now"],
)
def test_decide_when_there_is_an_alert_then_only_the_served_versions_counts(alert: DriftAlert, wanted: bool) -> None:
    assert fired(RetrainingHistory(alerts=(alert,), served=SERVED)) is wanted


@pytest.mark.parametrize(
    ("outcome", "wanted"),
    [
        ("promoted: cells-v2", False),
        ("refused: accuracy 0.7 is below 0.8", False),
        ("failed: MLflow does not answer", True),
        ("skipped: nothing new", True),
        ("abandoned: no outcome within 1 day", True),
    ],
)
def test_decide_when_a_training_came_after_the_alert_then_only_a_verdict_answers_it(outcome: str, wanted: bool) -> None:
    past = (PastRetraining(hours_ago(3), outcome),)
    history = RetrainingHistory(alerts=DRIFT, labels=labels(10), served=SERVED, retrainings=past)
    assert fired(history, cool_down_h=2, new_labels=10) is wanted


@pytest.mark.parametrize(("cool_down_h", "wanted"), [(0, True), (3, True), (3.01, False), (168, False)])
def test_decide_when_the_last_training_began_three_hours_ago_then_waits_for_the_cool_down(
    cool_down_h: float, wanted: bool
) -> None:
    past = (PastRetraining(hours_ago(100), "promoted: cells-v2"), PastRetraining(hours_ago(3), "failed: no disk"))
    history = RetrainingHistory(alerts=DRIFT, served=SERVED, retrainings=past)
    assert fired(history, cool_down_h=cool_down_h) is wanted


@pytest.mark.parametrize(
    ("hours", "weekdays", "now", "wanted"),
    [
        ([9, 17], None, NOON, True),
        ([12, 13], None, NOON, True),
        ([13, 17], None, NOON, False),
        ([9, 12], None, NOON, False),
        ([0, 24], ["wed"], NOON, True),
        ([0, 24], ["thu"], NOON, False),
        ([22, 6], None, NOON, False),
        ([22, 6], ["wed"], NOON + timedelta(hours=10), True),
        ([22, 6], ["wed"], NOON + timedelta(hours=17, minutes=59), True),
        ([22, 6], ["wed"], NOON + timedelta(hours=18), False),
        ([22, 6], ["thu"], NOON + timedelta(hours=17), False),
        ([22, 6], ["sun"], datetime(2026, 3, 9, 2, tzinfo=UTC), True),
        ([22, 6], ["mon"], datetime(2026, 3, 9, 2, tzinfo=UTC), False),
        ([12, 13], None, NOON.astimezone(timezone(timedelta(hours=9))), True),
    ],
)
def test_decide_when_hours_are_limited_then_the_day_is_that_on_which_they_begin(
    hours: list[int], weekdays: list[str] | None, now: datetime, wanted: bool
) -> None:
    policy: dict[str, object] = {"allowed_hours": hours}
    if weekdays:
        policy["allowed_weekdays"] = weekdays
    assert fired(RetrainingHistory(alerts=DRIFT, served=SERVED), now, **policy) is wanted


@pytest.mark.parametrize(("began_h", "wanted"), [(1, False), (24, False), (24.01, True)])
def test_decide_when_another_training_is_under_way_then_waits_until_it_is_stale(began_h: float, wanted: bool) -> None:
    past = (PastRetraining(hours_ago(began_h), "running"),)
    history = RetrainingHistory(alerts=DRIFT, served=SERVED, retrainings=past)
    assert fired(history, cool_down_h=0, stale_after_h=24) is wanted


def test_decide_when_nothing_is_served_then_does_not_fire() -> None:
    decision = decide(RetrainingConfig(new_labels=1), RetrainingHistory(labels=labels(1)), NOON)
    assert not decision.fired
    assert decision.model_version == 0
    assert "not met: a served version; there: none" in decision.reasons


def test_decide_gives_every_reason_with_what_was_needed_and_what_was_there() -> None:
    past = (PastRetraining(hours_ago(30.5), "promoted: cells-v2"),)
    history = RetrainingHistory(alerts=DRIFT, labels=labels(3), served=SERVED, retrainings=past)
    policy = RetrainingConfig(new_labels=10, cool_down_h=48, allowed_hours=(22, 6), allowed_weekdays=("mon", "tue"))

    decision = decide(policy, history, NOON)

    assert decision.reasons == (
        "any of 2 triggers needed",
        (
            "met: a drift alert on version 2 since the training of 2026-03-03 05:30 UTC; "
            "there: 1, the newest of 2026-03-04 07:00 UTC"
        ),
        "not met: 10 new labels since the training of 2026-03-03 05:30 UTC; there: 3",
        "met: a served version; there: version 2",
        "not met: 48 h since the last training by policy; there: 30.5 h, it began 2026-03-03 05:30 UTC",
        "not met: a time from 22:00 to 06:00 UTC, begun on mon, tue; there: wed 12:00",
        "met: no training by policy under way; there: none",
    )
    assert (decision.fired, decision.new_labels, decision.model_version) == (False, 3, 2)


@pytest.mark.parametrize(
    ("outcomes", "wanted"),
    [
        ([], None),
        ([("promoted: x", "v2.1.0")], None),
        ([("promoted: x", "v2.1.0"), ("failed: x", "v2.2.0")], "v2.2.0"),
        ([("failed: x", "v2.2.0"), ("failed: x", None)], "v2.2.0"),
        ([("failed: x", "v2.2.0"), ("refused: x", "v2.2.0")], None),
    ],
)
def test_pending_dataset_tag_when_a_training_came_to_no_verdict_then_its_version_waits(
    outcomes: list[tuple[str, str | None]], wanted: str | None
) -> None:
    past = tuple(PastRetraining(hours_ago(9 - n), outcome, tag) for n, (outcome, tag) in enumerate(outcomes))
    assert pending_dataset_tag(RetrainingHistory(retrainings=past)) == wanted


@pytest.mark.parametrize(
    "wrong",
    [
        {"drift_confirmed": False, "new_labels": None},
        {"allowed_hours": [6, 6]},
        {"allowed_hours": [24, 6]},
        {"allowed_hours": [6, 0]},
        {"allowed_hours": [6]},
        {"allowed_weekdays": []},
        {"allowed_weekdays": ["monday"]},
        {"new_labels": 0},
        {"cool_down_h": -1},
        {"stale_after_h": 0},
    ],
    ids=str,
)
def test_config_when_it_can_never_hold_then_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RetrainingConfig.model_validate(wrong)


def test_decide_when_another_model_is_served_then_does_not_fire_until_this_one_is_again() -> None:
    served = (*SERVED, ServedVersion(hours_ago(3), 0, "cracks"))
    history = RetrainingHistory(alerts=DRIFT, labels=labels(10), served=served)

    decision = decide(RetrainingConfig(new_labels=10), history, NOON)

    assert not decision.fired
    assert "not met: a served version; there: none, cracks is served" in decision.reasons
    again = RetrainingHistory(alerts=DRIFT, labels=labels(10), served=(*served, ServedVersion(hours_ago(1), 2)))
    assert fired(again, new_labels=10)
    assert fired(history, hours_ago(3.5), new_labels=10)
