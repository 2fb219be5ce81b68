"""`retraining`: the policy that trains a model again without anyone asking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from onsight.config.base import Section

__all__ = ["WEEKDAYS", "RetrainingConfig", "Weekday"]

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = 24


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
