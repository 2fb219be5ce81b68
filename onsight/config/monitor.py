"""`monitor`: the window that the drift monitor tests, what it promises, and when it tells people."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from onsight.config.base import Section

__all__ = ["AlertConfig", "MonitorConfig", "WindowConfig"]


class WindowConfig(Section):
    """Which predictions of the served version are tested: the newest, bounded by time and by count."""

    hours: float = Field(168.0, gt=0, le=24 * 366, description="older predictions do not belong to the window")
    max_rows: int = Field(1000, ge=20, le=10_000_000, description="newest predictions of those hours")
    kept_rows: int = Field(20_000, ge=20, le=100_000, description="of a larger window, so many are read, drawn by hash")
    burst_s: float = Field(60.0, ge=0, le=86_400, description="near-duplicates of one client within this count once")


class AlertConfig(Section):
    """When a drift is confirmed, and how often people are told.

    A run whose window has no newer prediction than that of the run before it adds nothing to a confirmation.
    """

    drifted: int = Field(2, ge=1, le=100, description="verdicts that must be drift, this one among them")
    of_last: int = Field(3, ge=1, le=100, description="of so many last verdicts of this version")
    cool_down_hours: float = Field(24.0, ge=0, le=24 * 366, description="no second alert for a version within this")

    @field_validator("of_last")
    @classmethod
    def _at_least_drifted(cls, of_last: int, info: ValidationInfo) -> int:
        drifted = info.data.get("drifted", 1)
        if of_last < drifted:
            raise ValueError(f"is smaller than drifted ({drifted})")
        return of_last


class MonitorConfig(Section):
    """How the drift monitor judges the served version's predictions."""

    window: WindowConfig = WindowConfig()
    false_alarm_rate: float = Field(
        0.01, ge=0.001, le=0.2, description="of one run on quiet traffic, all tests together"
    )
    min_rows: int = Field(20, ge=20, le=10_000, description="fewer give no verdict but `not enough data`")
    alert: AlertConfig = AlertConfig()
    exp_name: str = Field("drift-monitor", min_length=1, max_length=200, description="MLflow experiment of the reports")
    ds_root: Path = Field(
        Path("datasets"), description="where the report finds the reference's images, if they are there"
    )
