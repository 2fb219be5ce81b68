"""What a config would do, with what, and what it would replace in production; runs and writes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.upkeep_plan import retraining_policy, upkeep_stages
from onsight.config import (
    DatasetConfig,
    DeployConfig,
    DeployFlowConfig,
    EvalFlowConfig,
    EvaluateConfig,
    FlowConfig,
    FullFlowConfig,
    Int8Config,
    ModelConfig,
    MonitorFlowConfig,
    RetentionFlowConfig,
    RetrainFlowConfig,
    ReviewFlowConfig,
    TrainConfig,
    TrainFlowConfig,
)
from onsight.deployment import DeployClient
from onsight.errors import ConfigError, DependencyError
from onsight.settings import Settings

__all__ = ["print_plan"]

_SERVICE_TIMEOUT_S = 2.0


def print_plan(config: FlowConfig, settings: Settings) -> None:
    """Print the stages of a config's flow, where they write, and what production serves now."""
    console = Console()
    table = Table(title=f"{config.flow_module} would run", title_justify="left", title_style="bold")
    table.add_column("stage")
    table.add_column("with")
    for stage, with_what in _stages(config, settings):
        table.add_row(stage, with_what)
    console.print(table)
    console.print(f"tracking   {settings.mlflow_tracking_uri}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"prefect    {settings.prefect_api_url or 'a temporary server'}", highlight=False, markup=False)
    console.print(f"storage    {settings.central_storage_url}", highlight=False, markup=False, soft_wrap=True)
    if not isinstance(config, (MonitorFlowConfig, ReviewFlowConfig, RetentionFlowConfig)):
        console.print(f"champion   {_champion(config.model.model_name, settings)}", highlight=False, markup=False)
    if isinstance(config, (FullFlowConfig, DeployFlowConfig, RetrainFlowConfig)):
        console.print(f"replaces   {_served(config.deploy, settings)}", highlight=False, markup=False, soft_wrap=True)
    console.print("nothing was run", style="bold")


def _stages(config: FlowConfig, settings: Settings) -> list[tuple[str, str]]:
    if isinstance(config, (MonitorFlowConfig, ReviewFlowConfig, RetentionFlowConfig)):
        return upkeep_stages(config, settings)
    if isinstance(config, DeployFlowConfig):
        return _deploy_stages(config.deploy, settings, f"{config.model.model_name}, {config.deploy.version}")
    data = ("data set", _dataset(config.dataset))
    if isinstance(config, EvalFlowConfig):
        return [data, ("evaluation and gate", f"{config.evaluate.version}: {_evaluation(config.evaluate)}")]
    if isinstance(config, RetrainFlowConfig):
        again = ("new data set version", f"the reviewed labels in the next version of {config.dataset.ds_name}")
        decision = ("decision", retraining_policy(config.retraining))
        return [decision, again, *_stages(config.full(config.dataset.dvc_tag), settings)[1:]]
    stages = [data, *_train_stages(config)]
    if isinstance(config, FullFlowConfig):
        stages.append(("promotion", "only if the gate passes"))
        stages += _deploy_stages(config.deploy, settings, "the new version")
    return stages


def _train_stages(config: TrainFlowConfig | FullFlowConfig) -> list[tuple[str, str]]:
    drift = config.model.drift_detection
    severities = config.validation.severities.model_dump()
    strict = ", ".join(name for name, severity in severities.items() if severity == "error")
    return [
        ("validation", f"stops on: {strict}; Deepchecks: {config.validation.deepchecks_suite}"),
        ("model", _model(config.model)),
        ("training", _training(config.train)),
        ("evaluation and gate", _evaluation(config.evaluate)),
        ("serving graph", f"agreement within {config.evaluate.agreement.max_abs_difference:g}"),
        *_int8_stages(config.model.int8),
        ("drift detectors", f"{drift.detector} {drift.test}, {drift.reference_data_n_sample} references"),
        ("registry and storage", f"the next version of {config.model.model_name}"),
    ]


def _deploy_stages(config: DeployConfig, settings: Settings, what: str) -> list[tuple[str, str]]:
    prefect = config.prefect
    return [
        ("deployment", f"{what} at {config.service_url or settings.service_url}"),
        ("drift monitor", f"{prefect.deployment_name} in pool {prefect.monitor_pool_name}, cron {prefect.cron}"),
    ]


def _int8_stages(config: Int8Config) -> list[tuple[str, str]]:
    if not config.enabled:
        return []
    return [("int8 variant", f"published if it loses no more than {config.max_accuracy_loss:g} accuracy")]


def _dataset(config: DatasetConfig) -> str:
    how = "checked out" if config.dvc_checkout else "as it lies on disk"
    return f"{config.ds_root / config.ds_name} at {config.dvc_tag}, {how}"


def _model(config: ModelConfig) -> str:
    size = config.input_size
    return f"{config.architecture}, weights {config.weights}, {size.w} x {size.h}, {len(config.classes)} classes"


def _training(config: TrainConfig) -> str:
    hparams = config.hparams
    return f"{hparams.epochs} epochs of batches of {hparams.batch_size}, experiment {config.mlflow.exp_name}"


def _evaluation(config: EvaluateConfig) -> str:
    minimums = ", ".join(f"{name} >= {value:g}" for name, value in config.gate.minimum.items())
    return f"split {config.subset}; {minimums or 'no minimum'}; {config.gate.test} against the champion"


def _champion(model_name: str, settings: Settings) -> str:
    """The champion's name, without making the local tracking store if there is none."""
    store = Path(settings.state_dir) / "mlflow.db"
    if not settings.tracking_uri:
        if not store.exists():
            return "none yet"
        # MLflow's own client would migrate the store, and takes seconds to import.
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
            found = connection.execute(
                "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = 'champion'", (model_name,)
            ).fetchone()
        return f"{model_name}-v{found[0]}" if found else "none yet"
    from onsight.registry import open_registry

    version = open_registry(settings).resolve(model_name, "champion")
    return version.bundle_name if version else "none yet"


def _served(config: DeployConfig, settings: Settings) -> str:
    url = str(config.service_url or settings.service_url).rstrip("/")
    try:
        with DeployClient(url, _SERVICE_TIMEOUT_S, api_key=settings.service_api_key) as client:
            serving = client.serving()
    except (ConfigError, DependencyError) as error:
        return f"nothing: {error.message}"
    return f"{serving} at {url}" if serving else f"nothing: the service at {url} has no model"
