"""Points the service at a published bundle, and schedules its drift monitor."""

from __future__ import annotations

from prefect import flow
from rich.console import Console

from flows.launch import launch
from flows.stages import Stages
from flows.summary import RunSummary
from onsight.config import DeployConfig, DeployFlowConfig
from onsight.deployment import DeployOutcome
from onsight.errors import DependencyError
from onsight.registry import open_registry
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store
from tasks.deploy import deploy_version, schedule_monitor

__all__ = ["deploy_bundle_stages", "deploy_flow", "start"]


def start(config: DeployFlowConfig, *, resume: bool = False) -> RunSummary:  # noqa: ARG001 - nothing to go on with
    """Run the flow and print its summary."""
    return launch(deploy_flow, config)


@flow(name="deploy", validate_parameters=False)
def deploy_flow(config: DeployFlowConfig) -> RunSummary:
    """Deploy the version that ``deploy.version`` names: by default the champion.

    Raises:
        DependencyError: There is no such version, or the service does not come to serve it.
    """
    settings = Settings()
    stages = Stages(Console())
    name, wanted = config.model.model_name, config.deploy.version
    version = open_registry(settings).resolve(name, wanted)
    if version is None:
        raise DependencyError(
            f"the registry has no version {wanted!r} of model {name}",
            hint="train one: python run_flow.py --config configs/full_flow_config.yaml",
        )
    outcome = deploy_bundle_stages(version.bundle_name, config.deploy, open_store(settings), settings, stages)
    return RunSummary(
        title=f"{version.bundle_name} is in production",
        timings=stages.timings(),
        links={"Service": outcome.service_url},
    )


def deploy_bundle_stages(
    bundle_name: str, config: DeployConfig, store: ArtifactStore, settings: Settings, stages: Stages
) -> DeployOutcome:
    """The stages from a published bundle to a watched service."""
    with stages.stage("deployment"):
        outcome = deploy_version(store, bundle_name, config, settings)
        if outcome.local_service is not None:
            stages.say(f"dl_service runs here as process {outcome.local_service.pid}; stop it with `make stop`")
    with stages.stage("drift monitor"):
        schedule_monitor(bundle_name, config.prefect)
    return outcome
