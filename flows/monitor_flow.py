"""Tests the newest predictions of the served version for drift, keeps the evidence, and tells people."""

from __future__ import annotations

from dataclasses import replace

from prefect import flow
from rich.console import Console

from flows.launch import launch
from flows.stages import Stages
from flows.summary import RunSummary
from onsight.config import MonitorFlowConfig
from onsight.domain import DriftVerdict
from onsight.errors import OnsightError
from onsight.monitoring import Confirmation, MonitorRun
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store
from tasks.accuracy import watch_accuracy
from tasks.drift_evidence import Evidence, ReportSources, keep_evidence, show_in_prefect
from tasks.monitoring import (
    Monitored,
    ask_bundle_detectors,
    judge_window,
    read_monitored,
    record_results,
    tell_people,
)
from tasks.served import served_metadata_file

__all__ = ["monitor_flow", "start"]


def start(config: MonitorFlowConfig, *, resume: bool = False) -> RunSummary:  # noqa: ARG001 - nothing to go on with
    """Run the flow and print its summary."""
    return launch(monitor_flow, config)


@flow(name="drift-monitor")
def monitor_flow(config: MonitorFlowConfig) -> RunSummary:
    """Compare the newest predictions with the reference of the version that made them.

    Raises:
        DependencyError: Nothing was deployed yet, or a server does not answer.
        OnsightError: Storage cannot give the bundle; or report, MLflow, webhook, the bundle's detectors or the accuracy
            failed: then the results are in the database all the same.
    """
    settings = Settings()
    stages = Stages(Console())
    store = open_store(settings)
    with stages.stage("window"):
        monitored = read_monitored(store, served_metadata_file(settings), config.monitor, settings)
        stages.say(f"{monitored.window.n_rows} predictions of {monitored.metadata.bundle_name}")
    with stages.stage("drift tests"):
        run, confirmation = judge_window(monitored, config.monitor, settings)
        for verdict in (*run.judgement.tests, run.judgement.combined):
            stages.say(_sentence(verdict))
        stages.say(run.cause)
    with stages.stage("evidence"):
        evidence = _evidence(monitored, run, confirmation, store, settings)
        record_results(run, confirmation, evidence, settings)
    # Whatever may fail and is no part of the verdict comes after people were told.
    problems = [*evidence.problems, *_alert(run, confirmation, evidence, settings, stages)]
    show_in_prefect(run, confirmation, evidence)
    problems += _accuracy(store, settings, stages)
    for problem in problems[1:]:
        stages.say(f"failed too: {problem.message}")
    if problems:
        raise problems[0]
    return _summary(run, confirmation, evidence, stages)


def _evidence(
    monitored: Monitored, run: MonitorRun, confirmation: Confirmation, store: ArtifactStore, settings: Settings
) -> Evidence:
    """The report of a drift; what there is to say of any other verdict is in the database."""
    if not run.judgement.combined.is_drift:
        return Evidence("", "")
    verdicts: list[DriftVerdict] = []
    problems: list[OnsightError] = []
    try:
        verdicts = ask_bundle_detectors(monitored, store)
    except OnsightError as error:
        problems.append(error)
    sources = ReportSources(monitored.reference, confirmation, tuple(verdicts))
    evidence = keep_evidence(run, sources, store, settings)
    return replace(evidence, problems=(*problems, *evidence.problems))


def _alert(
    run: MonitorRun, confirmation: Confirmation, evidence: Evidence, settings: Settings, stages: Stages
) -> list[OnsightError]:
    """Tell people if it is time to; what went wrong with it."""
    if not confirmation.is_confirmed:
        return []
    if confirmation.quiet_until is not None:
        stages.say(f"confirmed; people were told, and are told again after {confirmation.quiet_until:%Y-%m-%d %H:%M}")
        return []
    with stages.stage("alert"):
        try:
            stages.say(tell_people(run, confirmation, evidence, settings))
        except OnsightError as error:
            return [error]
    return []


def _accuracy(store: ArtifactStore, settings: Settings, stages: Stages) -> list[OnsightError]:
    """Measure it, as far as labels have arrived; what went wrong with it."""
    with stages.stage("accuracy"):
        try:
            for sentence in watch_accuracy(store, settings):
                stages.say(sentence)
        except OnsightError as error:
            return [error]
    return []


def _summary(run: MonitorRun, confirmation: Confirmation, evidence: Evidence, stages: Stages) -> RunSummary:
    confirmed = ", confirmed" if confirmation.is_confirmed else ""
    return RunSummary(
        title=f"{run.metadata.bundle_name}: {run.judgement.combined.outcome}{confirmed}",
        timings=stages.timings(),
        links={"report": evidence.report, "mlflow": evidence.mlflow} if evidence.report else {},
    )


def _sentence(verdict: DriftVerdict) -> str:
    rows = f"{verdict.n_window} predictions against {verdict.n_reference} references"
    if verdict.is_drift is None:
        return f"{verdict.features}: {verdict.outcome} ({rows})"
    word = "DRIFT" if verdict.is_drift else "no drift"
    return f"{verdict.features}: {word}, p = {verdict.p_value:.2g} (alarm at {verdict.threshold:g} or below; {rows})"
