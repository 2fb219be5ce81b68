"""The drift monitor's stages: read a window, judge it, keep the evidence, tell people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from onsight.bundle import load_detector_directory, load_reference_file, read_metadata
from onsight.config import MonitorConfig
from onsight.db import (
    Database,
    DriftAlertRecord,
    PredictionWindow,
    WindowQuery,
    find_verdict,
    mark_alert_told,
    newest_drift_alert,
    open_database,
    past_verdicts,
    raise_drift_alert,
    read_window,
    record_drift_results,
    upgrade,
    uuid7,
)
from onsight.domain import BundleMetadata, DriftVerdict
from onsight.drift import DriftPolicy, ReferenceData, judge_sample, load_detector, read_reference
from onsight.monitoring import (
    Confirmation,
    MonitorRun,
    Webhook,
    alert_document,
    combined_row,
    confirm_drift,
    reference_sample,
    result_rows,
    window_sample,
)
from onsight.settings import Settings
from onsight.storage import ArtifactStore
from tasks.drift_evidence import Evidence
from tasks.stage import stage

__all__ = ["Monitored", "ask_bundle_detectors", "judge_window", "read_monitored", "record_results", "tell_people"]

# A night without traffic gives many verdicts on one window.
_PAST_VERDICTS = 200


@dataclass(frozen=True)
class Monitored:
    """What is tested.

    Attributes:
        bundle_dir: Where copies of the bundle's files go.
    """

    metadata: BundleMetadata
    reference: ReferenceData
    window: PredictionWindow
    bundle_dir: Path


@stage("window")
def read_monitored(store: ArtifactStore, metadata_file: str, config: MonitorConfig, settings: Settings) -> Monitored:
    """Read the newest predictions of the version that a metadata file names, and its reference.

    Raises:
        StorageError: There is no such bundle.
        BundleError: Its reference data is damaged.
        DependencyError: The database does not answer.
    """
    metadata = read_metadata(store, Path(metadata_file).stem)
    bundle_dir = settings.state_dir / "bundles"
    reference = read_reference(load_reference_file(store, metadata.bundle_name, bundle_dir))
    bounds = config.window
    query = WindowQuery(
        model_name=metadata.model_name,
        model_version=metadata.version,
        max_rows=bounds.max_rows,
        kept_rows=bounds.kept_rows,
        since=datetime.now(UTC) - timedelta(hours=bounds.hours),
    )
    with _opened_database(settings) as database:
        # The service makes the tables too, but it may be of an older release, or not have run yet.
        upgrade(database)
        return Monitored(metadata, reference, read_window(database, query), bundle_dir)


@stage("drift tests")
def judge_window(monitored: Monitored, config: MonitorConfig, settings: Settings) -> tuple[MonitorRun, Confirmation]:
    """Test a window, and look at the verdicts before this one.

    Raises:
        DependencyError: The database does not answer.
    """
    policy = DriftPolicy(
        false_alarm_rate=config.false_alarm_rate,
        min_rows=config.min_rows,
        burst_s=config.window.burst_s,
        classifier_type=monitored.metadata.classifier_type,
    )
    reference = reference_sample(monitored.reference)
    window = window_sample(monitored.window) if len(monitored.window) else reference.take([])
    judgement = judge_sample(reference, window, policy)
    run = MonitorRun(uuid7(), datetime.now(UTC), monitored.metadata, monitored.window, judgement, config)
    name, version = monitored.metadata.model_name, monitored.metadata.version
    with _opened_database(settings) as database:
        past = past_verdicts(database, name, version, _PAST_VERDICTS)
        last_alert = newest_drift_alert(database, name, version)
    return run, confirm_drift(combined_row(run), past, last_alert, config.alert)


@stage("bundle detectors")
def ask_bundle_detectors(monitored: Monitored, store: ArtifactStore) -> list[DriftVerdict]:
    """What the detectors saved with the bundle say; they are shown beside the verdict and are no part of it.

    Raises:
        StorageError: Storage cannot be read.
        BundleError: They are damaged.
    """
    if not len(monitored.window):
        return []
    window = monitored.window
    folders = [
        load_detector_directory(store, monitored.metadata.bundle_name, name, monitored.bundle_dir)
        for name in ("uae", "bbsd")
    ]
    rows = (window.uae_feats, window.bbsd_feats)
    return [load_detector(folder).test(feats) for folder, feats in zip(folders, rows, strict=True)]


@stage("results")
def record_results(run: MonitorRun, confirmation: Confirmation, evidence: Evidence, settings: Settings) -> None:
    """Write one row for each test, and the one of the verdict.

    Raises:
        DependencyError: The database does not answer.
    """
    details = {
        "confirmed": confirmation.is_confirmed,
        "drift_in_last": [confirmation.n_drift, confirmation.n_verdicts],
        "report": evidence.report,
        "mlflow": evidence.mlflow,
        "problems": [problem.message for problem in evidence.problems],
    }
    with _opened_database(settings) as database:
        record_drift_results(database, [*result_rows(run), combined_row(run, details)])


@stage("alert")
def tell_people(run: MonitorRun, confirmation: Confirmation, evidence: Evidence, settings: Settings) -> str:
    """Raise the alert in the database, post it if a webhook is set, and only then begin the cool-down.

    Prometheus and the retraining policy read the database: a webhook that is down keeps the alert from neither.

    Returns:
        What was done, one sentence.

    Raises:
        ConfigError: The webhook refuses the alert; the next run tries again.
        DependencyError: The webhook or the database does not answer; the next run tries again.
    """
    with _opened_database(settings) as database:
        alert = confirmation.untold or _raised(database, run, evidence)
        if alert is None:
            return "confirmed; another run raises the alert"
        done = "no webhook is set (ONSIGHT_ALERT_WEBHOOK_URL): the alert stands in the table drift_alerts alone"
        if settings.alert_webhook_url.get_secret_value():
            Webhook(settings.alert_webhook_url, settings.request_timeout_s).post(_document(database, alert))
            done = "the alert was posted to the webhook"
        mark_alert_told(database, alert.run_id, datetime.now(UTC))
    return done


def _raised(database: Database, run: MonitorRun, evidence: Evidence) -> DriftAlertRecord | None:
    """The run's alert, in the database; None if another run was faster."""
    alert = DriftAlertRecord(
        run_id=run.run_id,
        raised_at=run.tested_at,
        model_name=run.metadata.model_name,
        model_version=run.metadata.version,
        cause=run.cause,
        report=evidence.report or "it could not be stored",
    )
    cool_down = timedelta(hours=run.config.alert.cool_down_hours)
    return alert if raise_drift_alert(database, alert, cool_down) else None


def _document(database: Database, alert: DriftAlertRecord) -> dict[str, Any]:
    """What the webhook gets, of the run that raised the alert: it may be an earlier one."""
    verdict = find_verdict(database, alert.run_id)
    mlflow = verdict.details.get("mlflow") if verdict else None
    return alert_document(alert, verdict.p_value if verdict else None, {"mlflow": mlflow} if mlflow else {})


@contextmanager
def _opened_database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.predictions_database_url)
    try:
        yield database
    finally:
        database.close()
