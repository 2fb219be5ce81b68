"""The retention flow as a person runs it: a report first, removal when asked to; MLflow, Prefect, storage are real."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, temporary_settings

from onsight.bundle import list_bundles
from onsight.config import SCHEDULE_ANCHOR, MlflowConfig, read_config
from onsight.db import ApiCallRecord, Database, insert_records, open_database, record_desired, upgrade, uuid7
from onsight.image_archive import read_kept
from onsight.registry import open_registry
from onsight.settings import Settings
from onsight.storage import open_store
from onsight.tracking import CONFIG_TAG, open_tracker
from onsight.tracking.past_runs import PastRuns
from tests.integration.flows.conftest import WriteConfig, run_command
from tests.servers.bundle import publish_small

OLD = datetime(2025, 1, 1, tzinfo=UTC)
LEFT = ["cells-v1", "cells-v4"]


@pytest.fixture
def place(settings: Settings, tmp_path: Path) -> Iterator[Database]:
    """Four old versions, of which the first is to be served; an old run for each; old calls of the API."""
    database = open_database(settings.predictions_database_url)
    upgrade(database)
    record_desired(database, "cells", 1, requested_by="kim", reason="")
    call = ApiCallRecord(uuid7(), "request", "/predict", "POST", 200, "ok", 1.0, "127.0.0.1", OLD)
    insert_records(database, [call])
    client = MlflowClient(settings.mlflow_tracking_uri)
    client.create_registered_model("cells")
    (tmp_path / "page.html").write_bytes(b"x" * 1000)
    for version in range(1, 5):
        (tmp_path / f"parts-{version}").mkdir()
        publish_small(Path(settings.central_storage_url), version, tmp_path / f"parts-{version}")
        run = open_tracker(settings).start_run(MlflowConfig(exp_name="cells"), "cells-train")
        run.set_tags({CONFIG_TAG: "sha"})
        run.log_artifact(tmp_path / "page.html", "evaluation")
        run.close()
        source = (tmp_path / "model").as_uri()
        client.create_model_version("cells", source, run_id=run.run_id, tags={"dataset_tag": "v1.0.0"})
    _age(settings)
    yield database
    database.close()


def _age(settings: Settings) -> None:
    """MLflow gives every entry the present as its date."""
    connection = sqlite3.connect(settings.state_dir / "mlflow.db")
    at_ms = int(OLD.timestamp() * 1000)
    connection.execute("UPDATE runs SET start_time = ? + rowid", (at_ms,))
    connection.execute("UPDATE model_versions SET creation_time = ? + version", (at_ms,))
    connection.commit()
    connection.close()


def _artifact(prefect_api_url: str) -> str:
    with temporary_settings({PREFECT_API_URL: prefect_api_url}), get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["retention"])))
    return str(max(found, key=lambda artifact: artifact.created).data)


@pytest.mark.slow
def test_retention_flow_when_dry_then_reports_and_when_applied_then_removes(
    settings: Settings, place: Database, write_config: WriteConfig, prefect_api_url: str
) -> None:
    config = write_config("retention", versions={"keep_newest": 1, "days": 1}, runs={"keep_newest": 1, "days": 1})

    dry = run_command(config)
    assert dry.code == 0, dry.err
    assert "would remove versions and bundles: 2, " in dry.out
    assert "would remove runs: 2, " in dry.out
    assert "would remove api_log: 1" in dry.out
    assert "nothing was removed (apply: false)" in dry.out
    page = _artifact(prefect_api_url)
    assert "# Would be removed" in page
    assert "- cells-v1: it is to be served" in page
    store = open_store(settings)
    assert len(list_bundles(store)) == len(PastRuns(settings).all()) == 4
    assert not settings.image_archive_dir.exists()

    done = run_command(config, "--set", "apply=true")
    assert done.code == 0, done.err
    assert "removed versions and bundles: 2, " in done.out
    assert "  cells-v2" in done.out
    assert "removed runs: 2, 1.953 KiB" in done.out
    assert "# Removed" in _artifact(prefect_api_url)
    assert list_bundles(store) == [version.bundle_name for version in open_registry(settings).versions()] == LEFT
    assert not [key for key in store.list("models") + store.list("ref_data") if "-v2" in key or "-v3" in key]
    assert {run.run_id for run in PastRuns(settings).all()} == {
        version.run_id for version in open_registry(settings).versions()
    }
    assert read_kept(settings.image_archive_dir) == frozenset()

    again = run_command(config, "--set", "apply=true")
    assert "removed versions and bundles: 0, 0 B" in again.out


def test_retention_flow_when_the_database_is_down_then_removes_nothing(
    settings: Settings, place: Database, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONSIGHT_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    failed = run_command(write_config("retention", apply=True, versions={"keep_newest": 1, "days": 1}))
    assert failed.code == 6, failed.err
    assert len(list_bundles(open_store(settings))) == 4


@pytest.mark.parametrize(("flow", "name"), [("retention", "retention"), ("review", "review-queue")])
def test_schedule_when_the_flow_has_one_then_prefect_runs_it(
    settings: Settings, write_config: WriteConfig, prefect_api_url: str, flow: str, name: str
) -> None:
    config = write_config(flow, **{"schedule.every_h": 6})
    done = run_command(config, "--schedule")
    assert done.code == 0, done.err
    assert f"{name}/scheduled runs every 6 h in pool onsight-monitor" in done.out
    with temporary_settings({PREFECT_API_URL: prefect_api_url}), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{name}/scheduled")
    assert deployment.work_pool_name == "onsight-monitor"
    assert deployment.entrypoint == f"flows/{flow}_flow.py:{flow}_flow"
    assert deployment.parameters["config"] == read_config(config).model_dump(mode="json")
    (schedule,) = deployment.schedules
    assert schedule.schedule.interval.total_seconds() == 6 * 3600  # type: ignore[union-attr]
    assert schedule.schedule.anchor_date == SCHEDULE_ANCHOR  # type: ignore[union-attr]


@pytest.mark.parametrize(("flow", "server"), [("train", True), ("retention", False)])
def test_schedule_when_there_is_none_or_no_server_then_says_so(
    settings: Settings, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, flow: str, server: bool
) -> None:
    if not server:
        monkeypatch.delenv("PREFECT_API_URL")
    failed = run_command(write_config(flow), "--schedule")
    assert failed.code == 2, failed.err
    assert "schedule" in failed.err
