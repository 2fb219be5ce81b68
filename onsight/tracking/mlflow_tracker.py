"""The MLflow adapter of tracking; it keeps no active run of its own, so that several runs live side by side."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlparse

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException

from onsight.config import MlflowConfig
from onsight.errors import ConfigError, DependencyError
from onsight.settings import Settings
from onsight.tracking.connection import connect, journal_folder, unreachable
from onsight.tracking.journal import Journal
from onsight.tracking.messages import without_password
from onsight.tracking.mlflow_run import MlflowRun

__all__ = ["MlflowTracker"]

_RESUME_FLUSH_S = 60.0


class MlflowTracker:
    """Runs in MLflow: see ``Tracker``.

    Args:
        settings: Name the server and the local folder.
        system_metrics_interval_s: Between two samples of CPU, memory, disk, network and GPU, in seconds.
    """

    def __init__(self, settings: Settings, system_metrics_interval_s: float = 10.0) -> None:
        self._settings = settings
        self._uri = settings.mlflow_tracking_uri
        self._interval_s = system_metrics_interval_s
        self._client: MlflowClient | None = None

    def check(self) -> None:
        """Ask the server for an answer; see ``Tracker.check``."""
        try:
            self._connected().search_experiments(max_results=1)
        except Exception as error:
            raise self._translate(error) from error

    def start_run(self, config: MlflowConfig, run_name: str, resume_run_id: str | None = None) -> MlflowRun:
        """Start a run, or go on with one; see ``Tracker.start_run``."""
        try:
            if resume_run_id is not None:
                return self._resume(resume_run_id)
            experiment = self._experiment(config)
            run = self._connected().create_run(experiment.experiment_id, tags=dict(config.exp_tags), run_name=run_name)
            return self._open(run, Journal(journal_folder(self._settings), run.info.run_id))
        except Exception as error:
            raise self._translate(error) from error

    def find_unfinished_run(self, exp_name: str, tags: Mapping[str, str]) -> str | None:
        """The newest unfinished run with these tags; see ``Tracker.find_unfinished_run``."""
        wanted = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
        try:
            experiment = self._connected().get_experiment_by_name(exp_name)
            if experiment is None:
                return None
            runs = self._connected().search_runs(
                [experiment.experiment_id],
                " and ".join([*wanted, "attributes.status != 'FINISHED'"]),
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=1,
                order_by=["attributes.start_time DESC"],
            )
        except Exception as error:
            raise self._translate(error) from error
        return str(runs[0].info.run_id) if runs else None

    def _resume(self, run_id: str) -> MlflowRun:
        client = self._connected()
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise ConfigError(f"MLflow knows no run {run_id} to go on with", run_id=run_id) from error
            raise
        journal = Journal(journal_folder(self._settings), run_id)
        resumed = self._open(run, journal)
        # What the earlier process left unsent comes first: its end would close the run again.
        if not resumed.flush(_RESUME_FLUSH_S):
            resumed.abandon()
            raise DependencyError(
                f"what run {run_id} left unsent cannot be sent to MLflow", hint="python -m onsight.tracking sync"
            )
        client.update_run(run_id, status="RUNNING")
        resumed.leave_out(_logged_steps(client, run_id))
        return resumed

    def _open(self, run: Run, journal: Journal) -> MlflowRun:
        return MlflowRun(self._connected(), run.info, journal, self._link(run), self._interval_s)

    def _link(self, run: Run) -> str:
        page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        if urlparse(self._uri).scheme in ("http", "https"):
            return f"{without_password(self._uri).rstrip('/')}/{page}"
        return f"mlflow ui --backend-store-uri {without_password(self._uri)}  (then http://127.0.0.1:5000/{page})"

    def _experiment(self, config: MlflowConfig) -> Experiment:
        client = self._connected()
        experiment = client.get_experiment_by_name(config.exp_name)
        if experiment is None:
            experiment = client.get_experiment(self._create_experiment(config.exp_name))
        if experiment.lifecycle_stage == "deleted":
            raise ConfigError(
                f"the MLflow experiment {config.exp_name!r} was deleted",
                hint=f"restore it (mlflow experiments restore -x {experiment.experiment_id}) or set another exp_name",
            )
        description = {"mlflow.note.content": config.exp_desc} if config.exp_desc else {}
        for name, value in {**config.exp_tags, **description}.items():
            if experiment.tags.get(name) != value:
                client.set_experiment_tag(experiment.experiment_id, name, value)
        return experiment

    def _create_experiment(self, name: str) -> str:
        # A server has an artifact root of its own; a local file would put artifacts below the working directory.
        artifacts = self._settings.state_dir.absolute() / "mlartifacts"
        location = None if self._settings.tracking_uri else artifacts.as_uri()
        try:
            return str(self._connected().create_experiment(name, artifact_location=location))
        except MlflowException as error:
            existing = self._connected().get_experiment_by_name(name)  # made by another process meanwhile
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or existing is None:
                raise
            return str(existing.experiment_id)

    def _connected(self) -> MlflowClient:
        if self._client is None:
            self._client = connect(self._settings)
        return self._client

    def _translate(self, error: Exception) -> Exception:
        return error if isinstance(error, (ConfigError, DependencyError)) else unreachable(self._uri, error)


def _logged_steps(client: MlflowClient, run_id: str) -> set[tuple[str, int]]:
    names = [name for name in client.get_run(run_id).data.metrics if not name.startswith("system/")]
    return {(name, metric.step) for name in names for metric in client.get_metric_history(run_id, name)}
