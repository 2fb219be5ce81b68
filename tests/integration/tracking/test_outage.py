"""What a run keeps when the server, or the run's own process, goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from onsight.config import MlflowConfig
from onsight.errors import DependencyError
from onsight.tracking import TrackedRun, open_tracker
from onsight.tracking.__main__ import main
from tests.servers.mlflow_server import MlflowServer, experiment, own_metrics, settings_of


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


def test_a_server_that_hangs_holds_nobody_up(
    stoppable_mlflow: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(stoppable_mlflow, tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
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
