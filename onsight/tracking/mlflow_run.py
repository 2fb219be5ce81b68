"""One MLflow run: every call goes to the journal, and from there to the server."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import RunInfo

from onsight.domain import DatasetVersion
from onsight.tracking.delivery import Delivery
from onsight.tracking.journal import Journal, Record, RecordKind, now_ms
from onsight.tracking.model_folder import write_model_folder
from onsight.tracking.sender import Sender
from onsight.tracking.system_metrics import SystemMetrics
from onsight.tracking.tracker import RunStatus

__all__ = ["MlflowRun"]

_LOG = logging.getLogger(__name__)

_MODEL = "model"
_CLOSE_S = 120.0
_STOP_S = 15.0


class MlflowRun:
    """See ``TrackedRun``. Safe to call from several threads.

    Args:
        client: Of the server.
        info: The run.
        journal: The run's; this object closes it.
        link: Where a person finds the run.
        system_metrics_interval_s: Between samples, in seconds.
    """

    def __init__(
        self, client: MlflowClient, info: RunInfo, journal: Journal, link: str, system_metrics_interval_s: float
    ) -> None:
        self._run_id = str(info.run_id)
        self._link = link
        self._journal = journal
        self._sender = Sender(journal, Delivery(client, self._run_id, journal.files))
        self._left_out: set[tuple[str, int]] = set()
        self._is_closed = False
        self._system_metrics = SystemMetrics(self.log_metrics, info.start_time, system_metrics_interval_s)

    @property
    def run_id(self) -> str:
        """The run's identifier."""
        return self._run_id

    @property
    def link(self) -> str:
        """Where a person finds the run: an address, or the command that shows it."""
        return self._link

    @property
    def unsent(self) -> int:
        """How many calls the server has not received yet."""
        return len(self._journal)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log settings; see ``TrackedRun.log_params``."""
        self._keep("params", {"values": {name: str(value) for name, value in params.items()}})

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values; see ``TrackedRun.log_metrics``."""
        values = {
            name: float(value)
            for name, value in metrics.items()
            if step is None or (name, step) not in self._left_out
        }  # fmt: skip
        if values:
            self._keep("metrics", {"values": values, "step": step or 0})

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Log a file or a folder; see ``TrackedRun.log_artifact``."""
        try:
            copy = self._journal.new_folder()
            if path.is_dir():
                shutil.copytree(path, copy, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, copy / path.name)
        except OSError as error:
            _LOG.warning("%s is not logged to run %s: %s", path, self._run_id, error)
            return
        self._keep("artifact", {"file": copy.name, "folder": folder, "name": path.name})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; see ``TrackedRun.set_tags``."""
        self._keep("tags", {"values": {name: str(value) for name, value in tags.items()}})

    def log_dataset(self, dataset: DatasetVersion) -> None:
        """Log a data set as the run's input; see ``TrackedRun.log_dataset``."""
        sizes = dataset.split_sizes()
        self._keep(
            "dataset",
            {
                "name": dataset.name,
                "tag": dataset.tag,
                "revision": dataset.revision,
                "root": str(dataset.root),
                "split_sizes": sizes,
                "class_counts": {split: dataset.class_counts(split) for split in dataset.splits},
            },
        )
        identity = {"dataset.name": dataset.name, "dataset.tag": dataset.tag, "dataset.revision": dataset.revision}
        self.log_params({**identity, **{f"dataset.images.{split}": size for split, size in sizes.items()}})

    def log_model(self, keras_path: Path, input_size: tuple[int, int], classes: Sequence[str]) -> str:
        """Log a ``.keras`` file as a model; see ``TrackedRun.log_model``."""
        uri = f"runs:/{self._run_id}/{_MODEL}"
        try:
            copy = self._journal.new_folder()
            write_model_folder(keras_path, input_size, classes, copy)
        except OSError as error:
            _LOG.warning("%s is not logged to run %s: %s", keras_path, self._run_id, error)
            return uri
        self._keep("model", {"file": copy.name, "name": _MODEL})
        self.flush()
        return uri

    def flush(self, timeout_s: float = 60.0) -> bool:
        """Wait until everything is sent; see ``TrackedRun.flush``."""
        return self._sender.drain(timeout_s)

    def close(self, status: RunStatus = "FINISHED") -> None:
        """End the run; see ``TrackedRun.close``."""
        if self._is_closed:
            return
        self._system_metrics.stop()
        self._keep("end", {"status": status})
        self._sender.drain(_CLOSE_S)
        self._release()
        if len(self._journal):
            _LOG.warning(
                "MLflow has not received %d calls of run %s; they are kept. When the server answers again: "
                "python -m onsight.tracking sync",
                len(self._journal),
                self._run_id,
            )

    def abandon(self) -> None:
        """Let go of the run without ending it."""
        self._system_metrics.stop()
        self._release()

    def leave_out(self, logged: set[tuple[str, int]]) -> None:
        """Log no metric again that has this (name, step)."""
        self._left_out = logged

    def _release(self) -> None:
        self._is_closed = True
        self._sender.stop(_STOP_S)
        self._journal.close()

    def _keep(self, kind: RecordKind, body: Mapping[str, Any]) -> None:
        if self._is_closed:
            _LOG.warning("run %s is closed: its %s are not logged", self._run_id, kind)
            return
        self._journal.append(Record(kind, now_ms(), body))
        self._sender.wake()
