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
        quiet_until: End of the cool-down after the last alert, UTC; None if there is none.
    """

    is_confirmed: bool
    n_drift: int
    n_verdicts: int
    quiet_until: datetime | None

    @property
    def is_told(self) -> bool:
        """Whether an alert is due."""
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
    quiet_until = None
    if last_alert is not None:
        end = last_alert.raised_at + timedelta(hours=config.cool_down_hours)
        quiet_until = end if end > current.tested_at else None
    is_confirmed = current.verdict == "drift" and n_drift >= config.drifted
    return Confirmation(is_confirmed, n_drift, len(last), quiet_until)


def _is_verdict(result: DriftResultRecord) -> bool:
    return result.verdict != "not enough data"
