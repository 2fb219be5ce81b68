"""Says what is too old to keep, and with ``apply: true`` removes it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from rich.console import Console

from flows.launch import launch
from flows.stages import Stages
from flows.summary import RunSummary
from onsight.config import RetentionFlowConfig
from onsight.db import open_database, upgrade
from onsight.registry import open_registry
from onsight.retention import Place, RetentionReport, as_markdown
from onsight.settings import Settings
from onsight.storage import open_store
from tasks.retention import clear_drift_reports, clear_rows, clear_versions, list_kept_images

__all__ = ["retention_flow", "start"]

_SHOWN = 5


def start(config: RetentionFlowConfig, *, resume: bool = False) -> RunSummary:  # noqa: ARG001 - each run goes on
    """Run the flow and print its summary."""
    return launch(retention_flow, config)


@flow(name="retention")
def retention_flow(config: RetentionFlowConfig) -> RunSummary:
    """Name, or remove, what has grown old. A run that was cut off is finished by the next one.

    Raises:
        DependencyError: The database or the tracking server does not answer.
        StorageError: Central storage or the image archive cannot be read or written.
    """
    settings, stages, now = Settings(), Stages(Console()), datetime.now(UTC)
    with closing(open_database(settings.predictions_database_url)) as database:
        upgrade(database)
        # The list of images comes first: no clean-up in between may take one that it is to name.
        with stages.stage("images"):
            n_kept = list_kept_images(database, settings.image_archive_dir, apply=config.apply)
            stages.say(f"{n_kept} images are kept whatever their age")
        with stages.stage("rows"):
            shares = clear_rows(database, config.rows, now, apply=config.apply)
        place = Place(database, open_registry(settings), open_store(settings))
        with stages.stage("drift reports"):
            shares += clear_drift_reports(place, config.rows, settings, now, apply=config.apply)
        with stages.stage("versions and runs"):
            rules = (config.versions, config.runs)
            shares += clear_versions(place, rules, settings, now, apply=config.apply)
    report = RetentionReport(config.apply, tuple(shares), n_kept)
    _tell(report, stages)
    title = "Retention: removed" if config.apply else "Retention: nothing was removed (apply: false)"
    return RunSummary(title=title, timings=stages.timings())


def _tell(report: RetentionReport, stages: Stages) -> None:
    create_markdown_artifact(as_markdown(report), key="retention", description="What went, or would go")
    for share in report.shares:
        stages.say(f"{'removed' if report.is_applied else 'would remove'} {share}")
        for name in share.names[:_SHOWN]:
            stages.say(f"  {name}")
        if len(share.names) > _SHOWN:
            stages.say(f"  and {len(share.names) - _SHOWN} more: see the artifact `retention` in Prefect")
