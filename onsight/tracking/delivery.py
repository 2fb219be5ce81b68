"""Sending journalled calls to MLflow; every call can be sent twice without leaving a second trace.

MLflow drops a metric that it already holds (same name, time, step and value), and a data set, a parameter or a tag
that is set to what it is; a model is looked up by its name and run before it is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException

from onsight.tracking.journal import Record
from onsight.tracking.messages import first_line
from onsight.tracking.sender import Refused

__all__ = ["Delivery", "find_logged_model", "is_final"]

# MLflow's limits for one call, and for one value.
_METRICS_PER_CALL = 1000
_PARAMS_PER_CALL = 100
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_LONGEST_DIGEST = 36

_FINAL_STATUSES = (400, 404, 409)


class Delivery:
    """Sends the calls of one run.

    Args:
        client: Of the server.
        run_id: The run's identifier.
        files: The folder with the copies of artifacts.
    """

    def __init__(self, client: MlflowClient, run_id: str, files: Path) -> None:
        self._client = client
        self._run_id = run_id
        self._files = files

    def __call__(self, records: Sequence[Record]) -> None:
        """Send some calls of one kind (several at once only of metrics).

        Raises:
            Refused: The server answered, and will never take them.
        """
        send = getattr(self, f"_send_{records[0].kind}")
        try:
            send(records)
        except Exception as error:
            if is_final(error):
                raise Refused(first_line(error)) from error
            raise

    def _send_metrics(self, records: Sequence[Record]) -> None:
        metrics = [
            Metric(name, value, record.at_ms, record.body["step"])
            for record in records
            for name, value in record.body["values"].items()
        ]
        for chunk in _chunks(metrics, _METRICS_PER_CALL):
            self._client.log_batch(self._run_id, metrics=chunk)

    def _send_params(self, records: Sequence[Record]) -> None:
        params = [Param(name, value[:_LONGEST_PARAM]) for name, value in records[0].body["values"].items()]
        for chunk in _chunks(params, _PARAMS_PER_CALL):
            self._client.log_batch(self._run_id, params=chunk)

    def _send_tags(self, records: Sequence[Record]) -> None:
        tags = [RunTag(name, value[:_LONGEST_TAG]) for name, value in records[0].body["values"].items()]
        for chunk in _chunks(tags, _PARAMS_PER_CALL):
            self._client.log_batch(self._run_id, tags=chunk)

    def _send_artifact(self, records: Sequence[Record]) -> None:
        body = records[0].body
        self._client.log_artifacts(self._run_id, str(self._existing(body)), body["folder"] or None)

    def _send_dataset(self, records: Sequence[Record]) -> None:
        body = records[0].body
        dataset = Dataset(
            name=body["name"],
            digest=body["revision"][:_LONGEST_DIGEST],
            source_type="git",
            source=json.dumps({"path": body["root"], "tag": body["tag"], "revision": body["revision"]}),
            profile=json.dumps({"images": body["split_sizes"], "images_by_class": body["class_counts"]}),
        )
        inputs = [DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "training")])]
        self._client.log_inputs(self._run_id, datasets=inputs)

    def _send_model(self, records: Sequence[Record]) -> None:
        body = records[0].body
        folder = self._existing(body)
        model = find_logged_model(self._client, self._run_id, body["name"])
        if model is None:
            experiment_id = self._client.get_run(self._run_id).info.experiment_id
            model = self._client.create_logged_model(experiment_id, body["name"], source_run_id=self._run_id)
        self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, step=0)])

    def _send_end(self, records: Sequence[Record]) -> None:
        self._client.set_terminated(self._run_id, records[0].body["status"], end_time=records[0].at_ms)

    def _existing(self, body: Mapping[str, Any]) -> Path:
        folder = self._files / str(body["file"])
        if not folder.is_dir():
            raise Refused(f"its copy {folder} is gone")
        return folder


def find_logged_model(client: MlflowClient, run_id: str, name: str) -> LoggedModel | None:
    """A run's model of this name, or None."""
    experiment_id = client.get_run(run_id).info.experiment_id
    token = None
    while True:
        page = client.search_logged_models([experiment_id], filter_string=f"name = '{name}'", page_token=token)
        for model in page:
            if model.source_run_id == run_id:
                return model
        token = page.token
        if not token:
            return None


def is_final(error: Exception) -> bool:
    """Whether the server answered, and will answer the same when asked again."""
    if isinstance(error, Refused):
        return True
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code()) in _FINAL_STATUSES
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _FINAL_STATUSES
    return False


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
