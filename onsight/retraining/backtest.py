"""Replaying a policy over a stored history: when would it have fired?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from onsight.config import SCHEDULE_ANCHOR, RetrainingConfig
from onsight.db import PastRetraining, RetrainingHistory
from onsight.retraining.policy import Decision, decide

__all__ = ["BacktestFiring", "backtest"]


@dataclass(frozen=True)
class BacktestFiring:
    """A moment at which the policy would have fired, and why."""

    at: datetime
    decision: Decision


def backtest(
    policy: RetrainingConfig, history: RetrainingHistory, every: timedelta, until: datetime
) -> Iterator[BacktestFiring]:
    """Apply the policy at regular moments from the history's first event on.

    The stored trainings are left out: what the policy itself would have started takes their place. Each is taken to
    end at once, with a verdict of the promotion gate. Alerts, labels and served versions are replayed as they are
    stored, although other trainings might have led to others.

    Args:
        policy: The config section.
        history: Of one model.
        every: Between two moments; they lie on multiples of it, UTC.
        until: The last moment.
    """
    begin = min((*history.labels, *(alert.raised_at for alert in history.alerts)), default=None)
    if begin is None:
        return
    replayed = replace(history, retrainings=())
    moment = SCHEDULE_ANCHOR + -((SCHEDULE_ANCHOR - begin) // every) * every
    while moment <= until:
        decision = decide(policy, replayed, moment)
        if decision.fired:
            yield BacktestFiring(moment, decision)
            replayed = replace(replayed, retrainings=(*replayed.retrainings, PastRetraining(moment, "promoted")))
        moment += every
