"""Registers a config's flow with Prefect, to be run again and again by the worker of a pool."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import cast

from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow
from prefect.schedules import Interval
from rich.console import Console

from flows.prefect_server import refuse_absent_server
from onsight.config import SCHEDULE_ANCHOR, FlowConfig, RetentionFlowConfig, RetrainFlowConfig, ReviewFlowConfig
from onsight.errors import ConfigError
from onsight.settings import Settings
from tasks.deploy import ensure_pool

__all__ = ["schedule_flow"]

_REPOSITORY = Path(__file__).resolve().parent.parent
_SCHEDULED = RetrainFlowConfig | RetentionFlowConfig | ReviewFlowConfig


def schedule_flow(config: FlowConfig, settings: Settings) -> None:
    """Make or replace the deployment that ``schedule`` names; it runs the config as it is now.

    Raises:
        ConfigError: The config has no schedule, or no Prefect server is named.
        DependencyError: The server does not answer.
    """
    if not isinstance(config, _SCHEDULED):
        raise ConfigError(
            f"{config.flow_module} has no schedule",
            hint="retrain, review and retention have one; the deploy flow schedules the drift monitor",
        )
    if not settings.prefect_api_url:
        raise ConfigError("a temporary Prefect server keeps no schedule", hint="set PREFECT_API_URL")
    refuse_absent_server(settings)
    schedule = config.schedule
    ensure_pool(schedule.pool_name)
    module = config.flow_module
    entrypoint = f"{module.replace('.', '/')}.py:{module.removeprefix('flows.')}"
    # Prefect types its methods as coroutines as well; called outside an event loop they are not.
    flow = cast("Flow[..., object]", Flow.from_source(source=str(_REPOSITORY), entrypoint=entrypoint))
    deployment = cast(
        "RunnerDeployment",
        flow.to_deployment(
            name=schedule.deployment_name,
            work_pool_name=schedule.pool_name,
            schedule=Interval(timedelta(hours=schedule.every_h), anchor_date=SCHEDULE_ANCHOR, timezone="UTC"),
            parameters={"config": config.model_dump(mode="json")},
            # A run that takes longer than the interval is not joined by a second one.
            concurrency_limit=1,
        ),
    )
    deployment.apply()
    Console().print(
        f"{flow.name}/{schedule.deployment_name} runs every {schedule.every_h:g} h in pool {schedule.pool_name}",
        highlight=False,
    )
