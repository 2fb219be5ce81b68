"""`schedule`: how often Prefect runs a flow by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field

from onsight.config.base import Name, Section

__all__ = ["SCHEDULE_ANCHOR", "ScheduleConfig"]

# Runs begin at multiples of the interval from here on, whenever a flow is scheduled: a policy is asked at the same
# moments live and in its replay.
SCHEDULE_ANCHOR = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduleConfig(Section):
    """The Prefect deployment that ``run_flow.py --schedule`` registers."""

    pool_name: Name = Field("onsight-monitor", description="the work pool that a worker serves")
    deployment_name: Name = "scheduled"
    every_h: float = Field(
        ge=0.1, le=24 * 31, description="hours between two runs, at multiples of it since 1970-01-01 UTC"
    )
