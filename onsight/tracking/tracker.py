"""What tracking is: a tracker starts runs, and a run takes whatever is to be remembered of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from onsight.config import MlflowConfig
from onsight.domain import DatasetVersion
from onsight.settings import Settings

__all__ = ["CONFIG_TAG", "DRIFT_TAG", "RunStatus", "TrackedRun", "Tracker", "open_tracker"]

# On every run that a flow opens: the digest of the config that it was opened with.
CONFIG_TAG = "onsight.config_sha"
# On every run of the drift monitor: its own id of the run.
DRIFT_TAG = "onsight.drift_run"

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


class TrackedRun(Protocol):
    """One run. Its calls are written to a journal on disk and sent behind the caller's back, in order.

    No call raises or waits because a server is away: what was not sent is sent when it answers again, at
    ``close``, when the run is resumed, or by ``python -m onsight.tracking sync``.
    """

    @property
    def run_id(self) -> str:
        """The run's identifier."""
        ...

    @property
    def link(self) -> str:
        """Where a person finds the run: an address, or the command that shows it."""
        ...

    @property
    def unsent(self) -> int:
        """How many calls the server has not received yet."""
        ...

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log settings; a name keeps its first value."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values, of one step if ``step`` is given; a step that was logged before a resume is left out."""
        ...

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Log a file, or a folder's content, below the run's ``folder``; it may change or go afterwards."""
        ...

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a name takes its last value."""
        ...

    def log_dataset(self, dataset: DatasetVersion) -> None:
        """Log a data set as the run's input: name, tag, revision, split sizes and class counts."""
        ...

    def log_model(self, keras_path: Path, input_size: tuple[int, int], classes: Sequence[str]) -> str:
        """Log a ``.keras`` file as a model with its signature, and wait until it is sent where the server answers.

        Args:
            keras_path: A network from uint8 [N, H, W, 3] to float32 [N, C].
            input_size: (H, W), in pixels.
            classes: C of them.

        Returns:
            The model's URI, to register it with.
        """
        ...

    def flush(self, timeout_s: float = 60.0) -> bool:
        """Wait until everything is sent; give up as soon as the server does not answer.

        Returns:
            Whether everything is sent.
        """
        ...

    def close(self, status: RunStatus = "FINISHED") -> None:
        """End the run; a warning says so when something could not be sent."""
        ...


class Tracker(Protocol):
    """A tracking server, or a local file in its place."""

    def check(self) -> None:
        """Ask the server for an answer.

        Raises:
            DependencyError: It does not give one.
        """
        ...

    def start_run(self, config: MlflowConfig, run_name: str, resume_run_id: str | None = None) -> TrackedRun:
        """Start a run in the config's experiment, or go on with an earlier one.

        Raises:
            DependencyError: The server does not answer, or refuses.
            ConfigError: There is no such run or experiment to go on with, or another process is writing the run.
        """
        ...

    def find_unfinished_run(self, exp_name: str, tags: Mapping[str, str]) -> str | None:
        """The newest run of an experiment that carries these tags and never finished.

        Raises:
            DependencyError: The server does not answer.
        """
        ...


def open_tracker(settings: Settings) -> Tracker:
    """The MLflow server that the settings name, or an SQLite file below ``settings.state_dir``."""
    from onsight.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(settings)
