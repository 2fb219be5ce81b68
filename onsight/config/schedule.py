"""`schedule`: how often Prefect runs a flow by itself."""

from __future__ import annotations

from pydantic import Field

from onsight.config.base import Name, Section

__all__ = ["ScheduleConfig"]


class ScheduleConfig(Section):
    """The Prefect deployment that ``run_flow.py --schedule`` registers."""

    pool_name: Name = Field("onsight-monitor", description="the work pool that a worker serves")
    deployment_name: Name = "scheduled"
    every_h: float = Field(ge=0.1, le=24 * 31, description="hours between two runs")
