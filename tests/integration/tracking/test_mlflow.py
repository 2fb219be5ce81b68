"""Runs in a real MLflow server: what is logged, and what happens when the server goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from onsight.config import MlflowConfig
from onsight.domain import DatasetVersion, Split
from onsight.errors import ConfigError, DependencyError
from onsight.settings import Settings
from onsight.tracking import TrackedRun, Tracker, open_tracker
from onsight.tracking.__main__ import main
from tests.servers.mlflow_server import MlflowServer

REVISION = "0123456789abcdef0123456789abcdef01234567"


def settings_of(server: MlflowServer, folder: Path) -> Settings:
    return Settings(MLFLOW_TRACKING_URI=server.uri, state_dir=folder, request_timeout_s=3)


def experiment() -> MlflowConfig:
    return MlflowConfig(exp_name=f"test-{uuid.uuid4().hex}", exp_desc="A test.", exp_tags={"team": "line-3"})


def own_metrics(client: MlflowClient, run_id: str) -> dict[str, list[tuple[int, float]]]:
    names = [name for name in client.get_run(run_id).data.metrics if not name.startswith("system/")]
    return {
        name: sorted((point.step, point.value) for point in client.get_metric_history(run_id, name)) for name in names
    }


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


def _log_through_an_outage(run: TrackedRun, server: MlflowServer, folder: Path) -> float:
    """Logs 20 steps, with the server killed after the fifth; gives the slowest call in seconds."""
    slowest = 0.0
    plot = folder / "plot.png"
    plot.write_bytes(b"png")
    for step in range(20):
        if step == 5:
            server.kill()
        started = time.perf_counter()
        run.log_metrics({"loss": step / 2, "accuracy": 0.5}, step=step)
        slowest = max(slowest, time.perf_counter() - started)
    run.log_artifact(plot, folder="plots")
    run.set_tags({"end": "reached"})
    return slowest


def test_a_killed_server_stops_nothing_and_gets_the_rest_when_it_returns(
    stoppable_mlflow: MlflowServer, tmp_path: Path
) -> None:
    run = open_tracker(settings_of(stoppable_mlflow, tmp_path)).start_run(experiment(), "outage")
    slowest = _log_through_an_outage(run, stoppable_mlflow, tmp_path)
    assert slowest < 0.5
    stoppable_mlflow.start()
    run.close()

    client = MlflowClient(stoppable_mlflow.uri)
    assert own_metrics(client, run.run_id)["loss"] == [(step, step / 2) for step in range(20)]
    assert client.get_run(run.run_id).data.tags["end"] == "reached"
    assert [item.path for item in client.list_artifacts(run.run_id, "plots")] == ["plots/plot.png"]
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert run.unsent == 0


def test_what_a_dead_server_missed_is_synced_later(
    stoppable_mlflow: MlflowServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = open_tracker(settings_of(stoppable_mlflow, tmp_path)).start_run(experiment(), "outage")
    _log_through_an_outage(run, stoppable_mlflow, tmp_path)
    started = time.perf_counter()
    run.close()
    assert time.perf_counter() - started < 10
    assert run.unsent > 0
    assert "python -m onsight.tracking sync" in caplog.text

    monkeypatch.setenv("MLFLOW_TRACKING_URI", stoppable_mlflow.uri)
    monkeypatch.setenv("ONSIGHT_STATE_DIR", str(tmp_path))
    assert main(["sync"]) == DependencyError.exit_code
    stoppable_mlflow.start()
    assert main(["sync"]) == 0
    assert f"run {run.run_id}:" in capsys.readouterr().out

    client = MlflowClient(stoppable_mlflow.uri)
    assert own_metrics(client, run.run_id)["loss"] == [(step, step / 2) for step in range(20)]
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert not list((tmp_path / "tracking_journal").iterdir())
    assert main(["sync"]) == 0


def test_a_server_that_hangs_holds_nobody_up(stoppable_mlflow: MlflowServer, tmp_path: Path) -> None:
    settings = settings_of(stoppable_mlflow, tmp_path)
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"
    run = open_tracker(settings).start_run(experiment(), "hangs")
    stoppable_mlflow.freeze()
    started = time.perf_counter()
    for step in range(10):
        run.log_metrics({"loss": step}, step=step)
    assert time.perf_counter() - started < 1
    run.close()
    assert time.perf_counter() - started < 12
    assert run.unsent > 0
    stoppable_mlflow.thaw()

    again = open_tracker(settings).start_run(experiment(), "hangs", resume_run_id=run.run_id)
    again.close()
    points = own_metrics(MlflowClient(stoppable_mlflow.uri), run.run_id)["loss"]
    assert points == [(step, float(step)) for step in range(10)]


_KILLED = """
import sys
from pathlib import Path
from onsight.config import MlflowConfig
from onsight.settings import Settings
from onsight.tracking import open_tracker

settings = Settings(state_dir=Path(sys.argv[1]))
run = open_tracker(settings).start_run(MlflowConfig(exp_name="killed"), "killed")
for step in range(50):
    run.log_metrics({"loss": step}, step=step)
print(run.run_id, flush=True)
sys.stdin.read()
"""


def test_a_killed_process_loses_nothing_and_its_run_is_resumed(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.uri}
    arguments: list[Any] = [sys.executable, "-c", _KILLED, str(tmp_path)]
    with subprocess.Popen(
        arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)

    tracker = open_tracker(settings_of(mlflow_server, tmp_path))
    assert tracker.find_unfinished_run("killed", {}) == run_id
    tracker.start_run(MlflowConfig(exp_name="killed"), "killed", resume_run_id=run_id).close()
    points = own_metrics(MlflowClient(mlflow_server.uri), run_id)["loss"]
    assert points == [(step, float(step)) for step in range(50)]


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
