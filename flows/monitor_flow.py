"""Tests the newest predictions of the served version for drift."""

from __future__ import annotations

from prefect import flow
from prefect.variables import Variable
from rich.console import Console

from flows.launch import launch
from flows.stages import Stages
from flows.summary import RunSummary
from onsight.config import MonitorFlowConfig
from onsight.domain import DriftVerdict
from onsight.errors import DependencyError
from onsight.settings import Settings
from onsight.storage import open_store
from tasks.accuracy import watch_accuracy
from tasks.monitoring import watch_drift

__all__ = ["monitor_flow", "start"]

_NO_VERDICT = "not enough data for a verdict"


def start(config: MonitorFlowConfig, *, resume: bool = False) -> RunSummary:  # noqa: ARG001 - nothing to go on with
    """Run the flow and print its summary."""
    return launch(monitor_flow, config)


@flow(name="drift-monitor")
def monitor_flow(config: MonitorFlowConfig) -> RunSummary:
    """Compare the newest predictions with the reference of the version that made them.

    Raises:
        DependencyError: Nothing was deployed yet, or a server does not answer.
    """
    settings = Settings()
    console = Console()
    stages = Stages(console)
    metadata_file = Variable.get("current_model_metadata_file")
    if not metadata_file:
        raise DependencyError(
            "no model was deployed yet: the Prefect variable current_model_metadata_file is not set",
            hint="run the deploy flow first",
        )
    with stages.stage("drift test"):
        verdicts = watch_drift(open_store(settings), str(metadata_file), config.window_size, settings)
        for verdict in verdicts:
            stages.say(_sentence(verdict))
    with stages.stage("accuracy"):
        for sentence in watch_accuracy(open_store(settings), settings):
            stages.say(sentence)
    return RunSummary(title=f"Drift of {metadata_file}", timings=stages.timings())


def _sentence(verdict: DriftVerdict) -> str:
    rows = f"{verdict.n_window} predictions against {verdict.n_reference} references"
    if verdict.is_drift is None:
        return f"{verdict.features}: {_NO_VERDICT} ({rows})"
    word = "DRIFT" if verdict.is_drift else "no drift"
    return f"{verdict.features}: {word}, p = {verdict.p_value:.2g} (alarm below {verdict.threshold:g}; {rows})"
