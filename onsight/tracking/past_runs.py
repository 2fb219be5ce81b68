"""The runs that Onsight has left in MLflow: listed, measured, and removed with their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from onsight.errors import DependencyError
from onsight.settings import Settings
from onsight.tracking.connection import connect, unreachable
from onsight.tracking.tracker import CONFIG_TAG

__all__ = ["PastRun", "PastRuns"]

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class PastRun:
    """A run that some flow has opened.

    Attributes:
        name: What kind of run it is: ``<model_name>-train``, ``<model_name>-evaluate``.
        started_at: UTC.
        tag: The value of the tag that it was found by.
    """

    run_id: str
    name: str
    started_at: datetime
    tag: str


class PastRuns:
    """The runs of the tracking server that the settings name.

    MLflow itself only marks a run as deleted: its bytes are removed here, its row stays until ``mlflow gc``.

    Raises:
        DependencyError: By every method, when the server does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: MlflowClient | None = None

    def all(self, tag: str = CONFIG_TAG) -> list[PastRun]:
        """Every run with a tag that nobody has deleted, the newest first; each that a flow has opened has one of ours.

        Args:
            tag: ``CONFIG_TAG``, or ``DRIFT_TAG`` for those of the drift monitor.
        """
        return self._ask(lambda client: [_to_past_run(run, tag) for run in _runs(client, tag)])

    def size_bytes(self, run_id: str) -> int:
        """The bytes of a run's artifacts and of the models that it logged."""
        return self._ask(lambda client: sum(_size(files) for files in self._files(client, run_id)))

    def remove(self, run_id: str) -> None:
        """Remove a run: its bytes first, so that a call that was cut off finds it again."""
        self._ask(lambda client: self._remove(client, run_id))

    def _remove(self, client: MlflowClient, run_id: str) -> None:
        for files in self._files(client, run_id):
            # A server answers with an error when there is nothing to delete.
            if files.list_artifacts(None):
                files.delete_artifacts(None)
        for model in _models(client, run_id):
            client.delete_logged_model(model.model_id)
        client.delete_run(run_id)

    def _files(self, client: MlflowClient, run_id: str) -> list[ArtifactRepository]:
        uris = [client.get_run(run_id).info.artifact_uri]
        uris += [model.artifact_location for model in _models(client, run_id)]
        return [get_artifact_repository(uri, tracking_uri=self._settings.mlflow_tracking_uri) for uri in uris]

    def _ask(self, call: Callable[[MlflowClient], Answer]) -> Answer:
        try:
            if self._client is None:
                self._client = connect(self._settings)
            return call(self._client)
        except DependencyError:
            raise
        except Exception as error:
            raise unreachable(self._settings.mlflow_tracking_uri, error) from error


def _runs(client: MlflowClient, tag: str) -> Iterator[Run]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments(view_type=ViewType.ALL)]
    token = None
    while True:
        page = client.search_runs(
            experiments,
            f"tags.`{tag}` LIKE '%'",
            run_view_type=ViewType.ACTIVE_ONLY,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _models(client: MlflowClient, run_id: str) -> list[LoggedModel]:
    experiment_id = client.get_run(run_id).info.experiment_id
    return list(client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'"))


def _size(files: ArtifactRepository, path: str | None = None) -> int:
    return sum(
        _size(files, entry.path) if entry.is_dir else int(entry.file_size or 0) for entry in files.list_artifacts(path)
    )


def _to_past_run(run: Run, tag: str) -> PastRun:
    started_at = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return PastRun(str(run.info.run_id), str(run.info.run_name), started_at, str(run.data.tags[tag]))
