"""The deployment's stages: bring a bundle into service, tell Prefect, and schedule the drift monitor."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.variables import Variable

from onsight.bundle import load_bundle, metadata_key
from onsight.config import DeployConfig, PrefectDeploymentConfig
from onsight.deployment import DeployOutcome, DeployRequest, deploy_bundle
from onsight.settings import Settings
from onsight.storage import ArtifactStore
from tasks.stage import stage

__all__ = ["deploy_version", "ensure_pool", "schedule_monitor"]

_REPOSITORY = Path(__file__).resolve().parent.parent
_MONITOR_ENTRYPOINT = "flows/monitor_flow.py:monitor_flow"


@stage("deployment")
def deploy_version(store: ArtifactStore, bundle_name: str, config: DeployConfig, settings: Settings) -> DeployOutcome:
    """Point the service at a bundle, wait until it serves it, and check its golden answers over HTTP."""
    bundle = load_bundle(store, bundle_name, settings.state_dir / "bundles")
    return deploy_bundle(DeployRequest(bundle, config, reason="deploy flow"), settings)


@stage("drift monitor", retries=2)
def schedule_monitor(bundle_name: str, config: PrefectDeploymentConfig) -> str:
    """Note the version in Prefect's variables, and register the monitor's deployment; the deployment's identifier."""
    Variable.set("current_model_metadata_file", metadata_key(bundle_name), overwrite=True)
    Variable.set("monitor_pool_name", config.monitor_pool_name, overwrite=True)
    ensure_pool(config.monitor_pool_name)
    # Prefect types its methods as coroutines as well; called outside an event loop they are not.
    monitor = cast("Flow[..., object]", Flow.from_source(source=str(_REPOSITORY), entrypoint=_MONITOR_ENTRYPOINT))
    deployment = cast(
        "RunnerDeployment",
        monitor.to_deployment(
            name=config.deployment_name,
            work_pool_name=config.monitor_pool_name,
            cron=config.cron,
            parameters={
                "config": {"flow_module": "flows.monitor_flow", "monitor": config.monitor.model_dump(mode="json")}
            },
            # Runs that are late and start together would each judge, and tell of, the same window.
            concurrency_limit=1,
        ),
    )
    return str(deployment.apply())


def ensure_pool(name: str) -> None:
    """Make the work pool unless it is there."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
