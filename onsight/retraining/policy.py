"""The decision itself: a config, a history and a moment in; yes or no, with every reason, out."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from onsight.config import WEEKDAYS, RetrainingConfig
from onsight.db import RUNNING, PastRetraining, RetrainingHistory, ServedVersion

__all__ = ["Decision", "decide", "pending_dataset_tag"]

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Decision:
    """Whether to train again.

    Attributes:
        reasons: One for each condition: whether it is met, what was needed and what was there.
        new_labels: Since the last training that the promotion gate has decided on.
        model_version: Served at that moment; 0 if none was.
    """

    fired: bool
    reasons: tuple[str, ...]
    new_labels: int
    model_version: int


@dataclass(frozen=True)
class _Condition:
    is_met: bool
    needed: str
    found: str

    def __str__(self) -> str:
        return f"{'met' if self.is_met else 'not met'}: {self.needed}; there: {self.found}"


def decide(policy: RetrainingConfig, history: RetrainingHistory, now: datetime) -> Decision:
    """Apply the policy at one moment; what the history holds of later moments is not looked at.

    An alert or a label counts until a training that began after it was promoted or refused: a training that failed
    leaves its triggers standing, so that it is tried again after the cool-down.

    Args:
        policy: The config section.
        history: Of one model.
        now: With its zone.
    """
    answered_at = max((past.decided_at for past in _before(history, now) if past.is_answer), default=_BEGINNING)
    new_labels = bisect_right(history.labels, now) - bisect_right(history.labels, answered_at)
    current = next((one for one in reversed(history.served) if one.since <= now), None)
    served = current.version if current else 0
    triggers = []
    if policy.drift_confirmed:
        triggers.append(_drift(history, served, answered_at, now))
    if policy.new_labels is not None:
        triggers.append(_labels(policy.new_labels, new_labels, answered_at))
    gates = [
        _served(current),
        _cool_down(policy, history, now),
        _allowed_time(policy, now),
        _free(policy, history, now),
    ]
    is_triggered = (any if policy.when == "any" else all)(trigger.is_met for trigger in triggers)
    return Decision(
        fired=is_triggered and all(gate.is_met for gate in gates),
        reasons=(f"{policy.when} of {len(triggers)} triggers needed", *map(str, triggers), *map(str, gates)),
        new_labels=new_labels,
        model_version=served,
    )


def pending_dataset_tag(history: RetrainingHistory) -> str | None:
    """The version of the data set that was made for a training which then came to no verdict, or None."""
    for past in reversed(history.retrainings):
        if past.is_answer:
            return None
        if past.dataset_tag is not None:
            return past.dataset_tag
    return None


def _served(current: ServedVersion | None) -> _Condition:
    found = f"version {current.version}" if current else "none"
    if current and current.other_model:
        # A training by policy would take the other model out of production.
        found = f"none, {current.other_model} is served"
    return _Condition(current is not None and not current.other_model, "a served version", found)


def _drift(history: RetrainingHistory, served: int, answered_at: datetime, now: datetime) -> _Condition:
    alerts = [
        alert.raised_at
        for alert in history.alerts
        if alert.model_version == served and answered_at < alert.raised_at <= now
    ]
    found = f"{len(alerts)}, the newest of {_moment(alerts[-1])}" if alerts else "none"
    return _Condition(bool(alerts), f"a drift alert on version {served} {_since(answered_at)}", found)


def _labels(needed: int, found: int, answered_at: datetime) -> _Condition:
    return _Condition(found >= needed, f"{needed} new labels {_since(answered_at)}", str(found))


def _cool_down(policy: RetrainingConfig, history: RetrainingHistory, now: datetime) -> _Condition:
    needed = f"{policy.cool_down_h:g} h since the last training by policy"
    past = _before(history, now)
    if not past:
        return _Condition(is_met=True, needed=needed, found="none before")
    last = past[-1].decided_at
    is_met = now - last >= timedelta(hours=policy.cool_down_h)
    return _Condition(is_met, needed, f"{(now - last) / timedelta(hours=1):.1f} h, it began {_moment(last)}")


def _allowed_time(policy: RetrainingConfig, now: datetime) -> _Condition:
    begin, end = policy.allowed_hours
    utc = now.astimezone(UTC)
    days = "every day" if len(set(policy.allowed_weekdays)) == len(WEEKDAYS) else ", ".join(policy.allowed_weekdays)
    needed = f"a time from {begin:02}:00 to {end:02}:00 UTC, begun on {days}"
    return _Condition(policy.allows(now), needed, f"{WEEKDAYS[utc.weekday()]} {utc:%H:%M}")


def _free(policy: RetrainingConfig, history: RetrainingHistory, now: datetime) -> _Condition:
    stale_before = now - timedelta(hours=policy.stale_after_h)
    running = [
        past.decided_at for past in _before(history, now) if past.outcome == RUNNING and past.decided_at >= stale_before
    ]
    found = f"one since {_moment(running[-1])}" if running else "none"
    return _Condition(not running, "no training by policy under way", found)


def _before(history: RetrainingHistory, now: datetime) -> list[PastRetraining]:
    return [past for past in history.retrainings if past.decided_at <= now]


def _since(moment: datetime) -> str:
    return "since the beginning" if moment == _BEGINNING else f"since the training of {_moment(moment)}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
