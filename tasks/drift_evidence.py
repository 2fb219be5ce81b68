"""Where a run of the drift monitor leaves its evidence: central storage, MLflow, Prefect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect.artifacts import create_markdown_artifact

from onsight.config import MlflowConfig
from onsight.domain import DriftVerdict
from onsight.drift import DriftPage, ReferenceData
from onsight.errors import OnsightError
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.monitoring import Confirmation, MonitorRun, ReportParts, draw_galleries, render_report
from onsight.settings import Settings
from onsight.storage import ArtifactStore
from onsight.tracking import DRIFT_TAG, open_tracker
from tasks.stage import stage

__all__ = ["Evidence", "ReportSources", "keep_evidence", "show_in_prefect"]

_MLFLOW_FOLDER = "drift"


@dataclass(frozen=True)
class Evidence:
    """Where the report of a drift is.

    Attributes:
        report: Its address in central storage; empty when there is none, or it could not be stored.
        mlflow: Where MLflow shows it; empty when there is none, or MLflow did not take it.
        problems: What went wrong. The results and the alert do not wait for storage or MLflow.
    """

    report: str
    mlflow: str
    problems: tuple[OnsightError, ...] = ()


@dataclass(frozen=True)
class ReportSources:
    """What the report is made of, beside the run."""

    reference: ReferenceData
    confirmation: Confirmation
    bundle_verdicts: tuple[DriftVerdict, ...]


@stage("report")
def keep_evidence(run: MonitorRun, sources: ReportSources, store: ArtifactStore, settings: Settings) -> Evidence:
    """Write the report to central storage and MLflow; one that fails does not keep the other from it."""
    # Never started: it reads what dl_service wrote, and writes nothing.
    archive = ImageArchive(settings.image_archive_dir, ArchivePolicy())
    galleries = draw_galleries(run, sources.reference, run.config.ds_root / run.metadata.dataset_name, archive)
    parts = ReportParts(sources.reference, sources.confirmation, galleries, sources.bundle_verdicts)
    page = render_report(run, parts)
    report, mlflow, problems = "", "", []
    try:
        report = _store_report(run, page, store, settings)
    except OnsightError as error:
        problems.append(error)
    try:
        mlflow = _log_report(run, page, settings)
    except OnsightError as error:
        problems.append(error)
    return Evidence(report, mlflow, tuple(problems))


@stage("prefect artifact")
def show_in_prefect(run: MonitorRun, confirmation: Confirmation, evidence: Evidence) -> None:
    """Show the verdict on Prefect's pages; each run adds a version to the artifact of its model."""
    key = re.sub(r"[^a-z0-9]+", "-", f"drift-{run.metadata.model_name}".lower()).strip("-")
    links = {"report": evidence.report, "mlflow": evidence.mlflow}
    create_markdown_artifact(_markdown(run, confirmation, links), key=key, description=run.cause)


def _store_report(run: MonitorRun, page: str, store: ArtifactStore, settings: Settings) -> str:
    key = DriftPage(run.metadata.model_name, run.metadata.version, run.tested_at, DriftPage.run_of(run.run_id)).key
    store.put_bytes(key, page.encode())
    url = settings.central_storage_url
    return f"{url.rstrip('/') if '://' in url else Path(url).absolute()}/{key}"


def _log_report(run: MonitorRun, page: str, settings: Settings) -> str:
    metadata = run.metadata
    tracked = open_tracker(settings).start_run(
        MlflowConfig(exp_name=run.config.exp_name), f"{metadata.bundle_name} {run.tested_at:%Y-%m-%d %H:%M}"
    )
    # First: retention finds a run by its tag, also one that was cut off.
    tracked.set_tags(
        {
            "onsight.bundle": metadata.bundle_name,
            "onsight.training_run": metadata.run_id,
            DRIFT_TAG: run.run_id,
            "onsight.drift": run.judgement.combined.outcome,
        }
    )
    with TemporaryDirectory(prefix="onsight-drift-") as folder:
        path = Path(folder) / "report.html"
        path.write_text(page, encoding="utf-8")
        tracked.log_artifact(path, _MLFLOW_FOLDER)
    verdicts = (*run.judgement.tests, run.judgement.combined)
    tracked.log_metrics({f"p_{one.features}": one.p_value for one in verdicts if one.p_value is not None})
    tracked.close()
    return tracked.link


def _markdown(run: MonitorRun, confirmation: Confirmation, links: Mapping[str, str]) -> str:
    verdict = run.judgement.combined
    lines = [
        f"# {run.metadata.bundle_name}: {verdict.outcome}{', confirmed' if confirmation.is_confirmed else ''}",
        "",
        f"{run.cause}.",
        "",
        "| test | verdict | p-value | predictions |",
        "|---|---|---|---|",
    ]
    for one in (*run.judgement.tests, verdict):
        p_value = "" if one.p_value is None else f"{one.p_value:.3g}"
        lines.append(f"| {one.features} | {one.outcome} | {p_value} | {one.n_window} |")
    lines += ["", *(f"- {name}: `{address}`" for name, address in links.items() if address)]
    return "\n".join(lines)
