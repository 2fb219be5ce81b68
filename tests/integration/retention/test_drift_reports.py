"""Reports of the drift monitor grow old in central storage and MLflow; those of alerts stay."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onsight.config import MlflowConfig
from onsight.db import uuid7
from onsight.drift import DriftPage
from onsight.retention import Share, collect_drift_pages, collect_drift_runs
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store
from onsight.tracking import CONFIG_TAG, DRIFT_TAG, open_tracker
from onsight.tracking.past_runs import PastRuns

OLD = datetime(2025, 1, 1, 12, tzinfo=UTC)
BEFORE = OLD + timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Settings(state_dir=tmp_path / "state", central_storage_url=str(tmp_path / "storage"))


def put_page(store: ArtifactStore, run_id: str, tested_at: datetime) -> str:
    key = DriftPage("cells", 3, tested_at, DriftPage.run_of(run_id)).key
    store.put_bytes(key, b"0123456789")
    return key


def test_collect_drift_pages_when_applied_then_the_old_go_and_those_of_alerts_stay(settings: Settings) -> None:
    store, alerted = open_store(settings), uuid7()
    gone = put_page(store, uuid7(), OLD)
    stays = [put_page(store, alerted, OLD), put_page(store, uuid7(), BEFORE), "drift/cells/notes.html"]
    store.put_bytes(stays[-1], b"by a person")
    wanted = Share("drift reports", 1, 10, (gone,))

    assert collect_drift_pages(store, {alerted}, BEFORE, apply=False) == wanted
    assert store.exists(gone)

    assert collect_drift_pages(store, {alerted}, BEFORE, apply=True) == wanted
    assert store.list("drift") == sorted(stays)


@dataclass(frozen=True)
class Tracked:
    """Runs in MLflow, all of the same day."""

    settings: Settings
    folder: Path

    def make(self, tag: str, value: str) -> str:
        page = self.folder / "report.html"
        page.write_bytes(b"0123456789")
        run = open_tracker(self.settings).start_run(MlflowConfig(exp_name="drift-monitor"), "cells-v3")
        run.set_tags({tag: value})
        run.log_artifact(page, "drift")
        run.close()
        return run.run_id

    def age(self) -> None:
        """MLflow gives every run the present as its date."""
        connection = sqlite3.connect(self.settings.state_dir / "mlflow.db")
        connection.execute("UPDATE runs SET start_time = ?", (int(OLD.timestamp() * 1000),))
        connection.commit()
        connection.close()


def test_collect_drift_runs_when_applied_then_the_monitors_old_runs_go_alone(
    settings: Settings, tmp_path: Path
) -> None:
    tracked, alerted = Tracked(settings, tmp_path), uuid7()
    gone, kept, other = (
        tracked.make(DRIFT_TAG, uuid7()),
        tracked.make(DRIFT_TAG, alerted),
        tracked.make(CONFIG_TAG, "sha"),
    )
    tracked.age()
    young = tracked.make(DRIFT_TAG, uuid7())
    runs = PastRuns(settings)
    wanted = Share("runs of the drift monitor", 1, 10, (f"cells-v3 {gone}",))

    assert collect_drift_runs(runs, {alerted}, BEFORE, apply=False) == wanted
    assert collect_drift_runs(runs, {alerted}, BEFORE, apply=True) == wanted

    assert {run.run_id for run in runs.all(DRIFT_TAG)} == {kept, young}
    assert [run.run_id for run in runs.all()] == [other]
    assert collect_drift_runs(runs, {alerted}, BEFORE, apply=True).count == 0
