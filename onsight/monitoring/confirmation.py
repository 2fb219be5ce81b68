"""When a drift is confirmed, and when people have been told often enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from onsight.config import AlertConfig
from onsight.db import DriftAlertRecord, DriftResultRecord

__all__ = ["Confirmation", "confirm_drift"]


@dataclass(frozen=True)
class Confirmation:
    """Whether a verdict of drift stands, and whether to tell people.

    Attributes:
        n_drift: Of the ``n_verdicts`` last verdicts, this one among them.
        quiet_until: End of the cool-down after the last alert that was told, UTC; None if there is none.
        untold: The last alert, if it was raised within the cool-down and nobody was told yet.
    """

    is_confirmed: bool
    n_drift: int
    n_verdicts: int
    quiet_until: datetime | None
    untold: DriftAlertRecord | None = None

    @property
    def is_due(self) -> bool:
        """Whether people are to be told now."""
        return self.is_confirmed and self.quiet_until is None


def confirm_drift(
    current: DriftResultRecord,
    past: Sequence[DriftResultRecord],
    last_alert: DriftAlertRecord | None,
    config: AlertConfig,
) -> Confirmation:
    """Judge a run's combined verdict by those before it.

    Verdicts on the same newest prediction are one: without new traffic there is no new evidence. A confirmed drift is a
    drift now; old verdicts alone confirm nothing.

    Args:
        current: The combined verdict of this run.
        past: Combined verdicts of the same version, newest first, those without enough data left out.
        last_alert: The newest of the same version.
        config: How many of how many, and the cool-down.
    """
    by_window = {verdict.window_end: verdict for verdict in reversed([current, *past]) if _is_verdict(verdict)}
    last = sorted(by_window.values(), key=lambda verdict: verdict.tested_at, reverse=True)[: config.of_last]
    n_drift = sum(verdict.verdict == "drift" for verdict in last)
    quiet_until, untold = _standing(last_alert, current.tested_at, timedelta(hours=config.cool_down_hours))
    is_confirmed = current.verdict == "drift" and n_drift >= config.drifted
    return Confirmation(is_confirmed, n_drift, len(last), quiet_until, untold)


def _standing(
    alert: DriftAlertRecord | None, now: datetime, cool_down: timedelta
) -> tuple[datetime | None, DriftAlertRecord | None]:
    """Until when the last alert keeps others from being raised, if it was told; else itself, to be told still."""
    if alert is None or (alert.told_at or alert.raised_at) + cool_down <= now:
        return None, None
    return (alert.told_at + cool_down, None) if alert.told_at else (None, alert)


def _is_verdict(result: DriftResultRecord) -> bool:
    return result.verdict != "not enough data"
