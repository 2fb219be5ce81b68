"""`retraining`: the policy that trains a model again without anyone asking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import gcd
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from onsight.config.base import Section
from onsight.config.schedule import SCHEDULE_ANCHOR

__all__ = ["WEEKDAYS", "RetrainingConfig", "Weekday"]

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = 24
_TICK, _HOUR, _WEEK = timedelta(microseconds=1), timedelta(hours=1), timedelta(weeks=1)


class RetrainingConfig(Section):
    """When a model is trained again: the triggers say why, the rest says when it may be."""

    when: Literal["any", "all"] = Field("any", description="of the triggers drift_confirmed and new_labels")
    drift_confirmed: bool = Field(default=True, description="trigger: an alert on the served version")
    new_labels: int | None = Field(
        200, ge=1, description="trigger: this many reviewed labels since the last training; null: labels are none"
    )
    cool_down_h: float = Field(168.0, ge=0, le=24 * 366, description="hours between two trainings by policy")
    allowed_hours: tuple[int, int] = Field((0, 24), description="[from, to], UTC; [22, 6] goes over midnight")
    allowed_weekdays: tuple[Weekday, ...] = Field(
        WEEKDAYS, min_length=1, description="on which allowed_hours begin, UTC"
    )
    stale_after_h: float = Field(
        24.0, gt=0, le=24 * 31, description="after which a training without an outcome counts as dead"
    )

    @field_validator("new_labels")
    @classmethod
    def _some_trigger(cls, new_labels: int | None, info: ValidationInfo) -> int | None:
        if new_labels is None and not info.data.get("drift_confirmed", True):
            raise ValueError("without new_labels and drift_confirmed nothing ever triggers a training: set one of them")
        return new_labels

    @field_validator("allowed_hours")
    @classmethod
    def _hours_of_a_day(cls, hours: tuple[int, int]) -> tuple[int, int]:
        begin, end = hours
        if not (0 <= begin < _HOURS and 0 < end <= _HOURS and begin != end):
            raise ValueError("is [from, to] with from 0 to 23, to 1 to 24, and not the same")
        return hours

    def allows(self, now: datetime) -> bool:
        """Whether a training may begin at a moment, by its hour and weekday."""
        begin, end = self.allowed_hours
        utc = now.astimezone(UTC)
        is_in, day = begin <= utc.hour < end, utc.weekday()
        if begin > end:
            is_in = utc.hour >= begin or utc.hour < end
            # The small hours belong to the night that began on the day before.
            day = (day - (utc.hour < end)) % len(WEEKDAYS)
        return is_in and WEEKDAYS[day] in self.allowed_weekdays

    def is_ever_allowed(self, every: timedelta) -> bool:
        """Whether a flow that runs at regular moments is ever run at one that ``allows`` a training."""
        # Counted within the week, the multiples of the interval are in the end all the multiples of this step.
        step = gcd(every // _TICK, _WEEK // _TICK) * _TICK
        # No allowed time is shorter than an hour.
        return step <= _HOUR or any(self.allows(SCHEDULE_ANCHOR + n * step) for n in range(_WEEK // step))
