"""`review`: which predictions wait for a person, and how many."""

from __future__ import annotations

import math

from pydantic import Field, ValidationInfo, field_validator

from onsight.config.base import Section

__all__ = ["ReviewConfig", "ReviewShares"]


class ReviewShares(Section):
    """Shares of the budget by reason; their sum is 1. What a reason cannot use goes to the others with a share."""

    disputed: float = Field(0.2, ge=0, le=1, description="people disagree about it")
    drifted: float = Field(0.4, ge=0, le=1, description="farthest from the reference, by the drift monitor's last run")
    uncertain: float = Field(0.4, ge=0, le=1, description="the model hesitates between its classes")

    @field_validator("uncertain")
    @classmethod
    def _sum_is_one(cls, uncertain: float, info: ValidationInfo) -> float:
        total = uncertain + sum(info.data.get(name, math.nan) for name in ("disputed", "drifted"))
        # Not a number: another share is wrong, and reported.
        if abs(total - 1) > 1e-6:  # noqa: PLR2004
            raise ValueError(f"the shares add up to {total:g}, not to 1")
        return uncertain


class ReviewConfig(Section):
    """Which predictions are put before a person."""

    budget: int = Field(50, ge=1, le=10_000, description="items that wait at once; a run adds as many as are missing")
    shares: ReviewShares = ReviewShares()
    window_size: int = Field(5_000, ge=20, le=100_000, description="newest predictions to choose from")
    min_distance: float = Field(
        0.1, ge=0, le=10, description="of UAE features, in standard deviations; images nearer than this count as one"
    )
