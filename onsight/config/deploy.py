"""`deploy`: which service gets the bundle, and how Prefect watches it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, HttpUrl, StringConstraints

from onsight.config.base import Name, Section
from onsight.config.monitor import MonitorConfig

__all__ = ["DeployConfig", "PrefectDeploymentConfig"]


class PrefectDeploymentConfig(Section):
    """The scheduled drift monitor."""

    monitor_pool_name: Name = "onsight-monitor"
    deployment_name: Name = "drift-monitor"
    cron: Annotated[str, StringConstraints(pattern=r"^\S+( \S+){4}$")] = Field("0 * * * *", description="UTC")
    monitor: MonitorConfig = MonitorConfig()


class DeployConfig(Section):
    """Where a promoted bundle goes."""

    service_url: HttpUrl | None = Field(None, description="of dl_service; not set: the variable ONSIGHT_SERVICE_URL")
    version: str = Field("champion", description="deploy flow: a version number or an alias of model.model_name")
    start_local_service: bool = Field(
        default=True, description="start dl_service here if the address is local and none answers"
    )
    timeout_s: float = Field(60.0, gt=0, le=3600, description="until the service serves the new version")
    golden_tolerance: float = Field(0.02, gt=0, lt=1, description="of any probability, answered over HTTP")
    prefect: PrefectDeploymentConfig = PrefectDeploymentConfig()
