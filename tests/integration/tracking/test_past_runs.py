"""Past runs, in a real MLflow server and in the local file: listed, measured, and removed with their bytes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from onsight.config import MlflowConfig
from onsight.errors import DependencyError
from onsight.settings import Settings
from onsight.tracking import CONFIG_TAG, open_tracker
from onsight.tracking.past_runs import PastRuns
from tests.servers.mlflow_server import MlflowServer


@pytest.fixture(params=["server", "local"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if request.param == "local":
        return Settings(state_dir=tmp_path / "state")
    server: MlflowServer = request.getfixturevalue("mlflow_server")
    return Settings(MLFLOW_TRACKING_URI=server.uri, state_dir=tmp_path / "state")


@pytest.fixture
def make_run(settings: Settings, tmp_path: Path) -> Callable[..., str]:
    """Runs of one experiment with 10 bytes of artifacts, and if asked a logged model of 100."""
    config = MlflowConfig(exp_name=f"test-{uuid.uuid4().hex}")

    def make(name: str, *, ours: bool = True, model: bool = False) -> str:
        report = tmp_path / "report"
        (report / "deep").mkdir(parents=True, exist_ok=True)
        (report / "page.html").write_bytes(b"12345")
        (report / "deep/plot.png").write_bytes(b"12345")
        run = open_tracker(settings).start_run(config, name)
        if ours:
            run.set_tags({CONFIG_TAG: "sha"})
        run.log_artifact(report, "evaluation")
        run.close()
        if model:
            _log_model(settings, run.run_id, tmp_path)
        return run.run_id

    return make


def _log_model(settings: Settings, run_id: str, tmp_path: Path) -> None:
    client = MlflowClient(settings.mlflow_tracking_uri)
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_bytes(b"x" * 100)
    model = client.create_logged_model(client.get_run(run_id).info.experiment_id, "model", source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")


def test_past_runs_when_removed_then_the_bytes_are_gone_and_the_others_stay(
    settings: Settings, make_run: Callable[..., str]
) -> None:
    gone, stays, foreign = make_run("cells-train", model=True), make_run("cells-train"), make_run("x", ours=False)
    runs = PastRuns(settings)
    listed = {run.run_id: run.name for run in runs.all()}
    assert listed[gone] == listed[stays] == "cells-train"
    assert foreign not in listed
    assert (runs.size_bytes(gone), runs.size_bytes(stays)) == (110, 10)
    client = MlflowClient(settings.mlflow_tracking_uri)
    experiment_id = client.get_run(gone).info.experiment_id

    runs.remove(gone)

    assert gone not in {run.run_id for run in runs.all()}
    assert stays in {run.run_id for run in runs.all()}
    assert client.list_artifacts(gone, "evaluation") == []
    assert client.get_run(gone).info.lifecycle_stage == "deleted"
    assert list(client.search_logged_models([experiment_id])) == []
    assert runs.size_bytes(stays) == 10


def test_past_runs_when_a_removal_was_cut_off_then_it_can_be_repeated(
    settings: Settings, make_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = make_run("cells-train", model=True)
    runs = PastRuns(settings)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "delete_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            runs.remove(run_id)
    assert run_id in {run.run_id for run in runs.all()}
    assert runs.size_bytes(run_id) == 0

    runs.remove(run_id)

    assert run_id not in {run.run_id for run in runs.all()}


def test_past_runs_when_the_server_is_away_then_says_so(tmp_path: Path) -> None:
    settings = Settings(MLFLOW_TRACKING_URI="http://127.0.0.1:9", state_dir=tmp_path, request_timeout_s=1)
    with pytest.raises(DependencyError, match="does not answer"):
        PastRuns(settings).all()
