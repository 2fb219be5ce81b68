"""Runs in a real MLflow server: what is logged, and what happens when the server goes away."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from onsight.config import MlflowConfig
from onsight.domain import DatasetVersion, Split
from onsight.errors import ConfigError, DependencyError
from onsight.settings import Settings
from onsight.tracking import Tracker, open_tracker
from tests.servers.mlflow_server import MlflowServer, experiment, own_metrics, settings_of

REVISION = "0123456789abcdef0123456789abcdef01234567"


def dataset(root: Path) -> DatasetVersion:
    def split(name: str, labels: list[list[float]]) -> Split:
        paths = tuple(root / f"{name}-{i}.png" for i in range(len(labels)))
        return Split(name, paths, np.array(labels, dtype=np.float32))

    splits = {"train": split("train", [[1, 0], [1, 0], [0, 1]]), "test": split("test", [[0, 1]])}
    return DatasetVersion("cells", "v1.0.0", REVISION, root, ("ok", "broken"), splits)


@pytest.fixture
def tracker(mlflow_server: MlflowServer, tmp_path: Path) -> Tracker:
    return open_tracker(settings_of(mlflow_server, tmp_path))


@pytest.fixture
def client(mlflow_server: MlflowServer) -> MlflowClient:
    return MlflowClient(mlflow_server.uri)


def test_a_run_holds_what_was_logged(tracker: Tracker, client: MlflowClient, tmp_path: Path) -> None:
    config = experiment()
    tracker.check()
    run = tracker.start_run(config, "first")
    report = tmp_path / "report.html"
    report.write_text("<p>as it was</p>")
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.png").write_bytes(b"png")
    run.log_params({"lr": 0.1, **{f"p{i}": i for i in range(150)}, "long": "x" * 10_000})
    run.set_tags({"flow": "train"})
    run.log_artifact(report, folder="reports")
    run.log_artifact(tmp_path / "plots", folder="plots")
    report.write_text("changed afterwards")
    for step in range(30):
        run.log_metrics({"loss": 1 / (step + 1), "accuracy": step / 30}, step=step)
    run.log_metrics({"final": float("nan")})
    run.close()

    stored = client.get_run(run.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "first"
    assert stored.data.params["lr"] == "0.1"
    assert stored.data.params["p149"] == "149"
    assert len(stored.data.params["long"]) == 6000
    assert stored.data.tags["flow"] == "train"
    assert own_metrics(client, run.run_id)["loss"] == [(step, 1 / (step + 1)) for step in range(30)]
    assert any(name.startswith("system/cpu") for name in stored.data.metrics)
    assert [item.path for item in client.list_artifacts(run.run_id, "plots")] == ["plots/a.png"]
    copy = client.download_artifacts(run.run_id, "reports/report.html", str(tmp_path))
    assert Path(copy).read_text() == "<p>as it was</p>"
    kept = client.get_experiment_by_name(config.exp_name)
    assert kept.tags["mlflow.note.content"] == "A test."
    assert kept.tags["team"] == "line-3"
    assert run.unsent == 0
    assert not list((tmp_path / "tracking_journal").iterdir())


def test_a_data_set_is_the_runs_input(tracker: Tracker, client: MlflowClient, tmp_path: Path) -> None:
    run = tracker.start_run(experiment(), "data")
    run.log_dataset(dataset(tmp_path))
    run.log_dataset(dataset(tmp_path))
    run.close()

    stored = client.get_run(run.run_id)
    (logged,) = stored.inputs.dataset_inputs
    assert logged.dataset.name == "cells"
    assert logged.dataset.digest == REVISION[:36]
    assert '"images_by_class": {"train": {"ok": 2, "broken": 1}' in logged.dataset.profile
    assert stored.data.params["dataset.tag"] == "v1.0.0"
    assert stored.data.params["dataset.revision"] == REVISION
    assert stored.data.params["dataset.images.train"] == "3"


def test_logging_a_metric_costs_the_caller_little(tracker: Tracker) -> None:
    run = tracker.start_run(experiment(), "cheap")
    started = time.perf_counter()
    for step in range(200):
        run.log_metrics({"loss": 0.5, "accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}, step=step)
    assert (time.perf_counter() - started) / 200 < 0.02
    run.close()


def test_a_refused_call_stops_no_other(
    tracker: Tracker, client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tracker.start_run(experiment(), "refused")
    run.log_params({"lr": 0.1})
    run.log_params({"lr": 0.2})
    run.log_metrics({"a": 1}, step=0)
    run.log_metrics({"no such name? %": 1}, step=0)
    run.log_metrics({"b": 2}, step=0)
    run.close()

    assert own_metrics(client, run.run_id) == {"a": [(0, 1.0)], "b": [(0, 2.0)]}
    assert client.get_run(run.run_id).data.params["lr"] == "0.1"
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert len((tmp_path / "tracking_journal" / f"{run.run_id}.rejected.jsonl").read_text().splitlines()) == 2
    assert "refused params" in caplog.text


def test_an_unfinished_run_is_found_by_its_tags(tracker: Tracker) -> None:
    config = experiment()
    assert tracker.find_unfinished_run(config.exp_name, {"onsight.config_sha": "1"}) is None
    for sha, status in (("1", "FAILED"), ("1", "FINISHED"), ("2", "FAILED")):
        run = tracker.start_run(config, f"{sha}-{status}")
        run.set_tags({"onsight.config_sha": sha})
        run.close(status)  # type: ignore[arg-type]
        if (sha, status) == ("1", "FAILED"):
            wanted = run.run_id

    assert tracker.find_unfinished_run(config.exp_name, {"onsight.config_sha": "1"}) == wanted
    assert tracker.find_unfinished_run(config.exp_name, {"onsight.config_sha": "3"}) is None


def test_a_resumed_run_goes_on_without_double_points(tracker: Tracker, client: MlflowClient) -> None:
    config = experiment()
    first = tracker.start_run(config, "run")
    for step in range(3):
        first.log_metrics({"loss": step}, step=step)
    first.close("FAILED")

    again = tracker.start_run(config, "run", resume_run_id=first.run_id)
    assert client.get_run(first.run_id).info.status == "RUNNING"
    for step in range(2, 5):
        again.log_metrics({"loss": step}, step=step)
    again.close()

    assert again.run_id == first.run_id
    assert own_metrics(client, first.run_id)["loss"] == [(step, float(step)) for step in range(5)]
    assert client.get_run(first.run_id).info.status == "FINISHED"


def test_a_run_that_is_being_written_is_not_resumed(tracker: Tracker) -> None:
    config = experiment()
    run = tracker.start_run(config, "run")
    with pytest.raises(ConfigError, match="written by another process"):
        tracker.start_run(config, "run", resume_run_id=run.run_id)
    run.close()


def test_a_run_that_does_not_exist_is_not_resumed(tracker: Tracker) -> None:
    with pytest.raises(ConfigError, match="knows no run"):
        tracker.start_run(experiment(), "run", resume_run_id="0" * 32)


def test_a_deleted_experiment_is_a_clear_error(tracker: Tracker, client: MlflowClient) -> None:
    config = experiment()
    tracker.start_run(config, "run").close()
    client.delete_experiment(client.get_experiment_by_name(config.exp_name).experiment_id)
    with pytest.raises(ConfigError, match="was deleted"):
        tracker.start_run(config, "run")


def test_a_server_that_is_away_is_a_dependency_error(tmp_path: Path) -> None:
    away = open_tracker(Settings(MLFLOW_TRACKING_URI="http://someone:secret@127.0.0.1:9", state_dir=tmp_path))
    for call in (
        away.check,
        lambda: away.start_run(MlflowConfig(), "run"),
        lambda: away.find_unfinished_run("x", {}),
    ):
        with pytest.raises(DependencyError) as caught:
            call()
        assert "127.0.0.1:9" in caught.value.message
        assert "secret" not in str(caught.value)
        assert "MLFLOW_TRACKING_URI" in caught.value.hint


def test_a_local_file_stands_in_for_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = Settings(state_dir=tmp_path / "state")
    tracker = open_tracker(settings)
    tracker.check()
    run = tracker.start_run(MlflowConfig(exp_name="local"), "run")
    (tmp_path / "a.txt").write_text("a")
    run.log_artifact(tmp_path / "a.txt")
    run.log_metrics({"loss": 1.0}, step=0)
    run.close()

    client = MlflowClient(settings.mlflow_tracking_uri)
    assert client.get_run(run.run_id).info.artifact_uri.startswith((tmp_path / "state" / "mlartifacts").as_uri())
    assert client.get_run(run.run_id).data.metrics["loss"] == 1.0
    assert "mlflow ui --backend-store-uri" in run.link
