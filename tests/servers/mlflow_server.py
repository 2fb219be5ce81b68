"""A real MLflow server process, for the tests that need one; it can be killed and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from onsight.config import MlflowConfig
from onsight.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

_START_S = 90.0


class MlflowServer:
    """`mlflow server` on a SQLite file and a folder of artifacts of its own, which it serves over HTTP."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, on the same port and files as before, and waits until it answers."""
        log = (self._folder / "server.log").open("ab")
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port),
                "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db",
                "--artifacts-destination", str(self._folder / "artifacts"), "--workers", "1",
            ],
            stdout=log, stderr=log, start_new_session=True, cwd=self._folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "server.log").read_text()[-3000:])

    def kill(self) -> None:
        """Ends it and its workers at once, as a crash would."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Lets it hold its port and answer nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, 19)

    def thaw(self) -> None:
        """Lets it answer again."""
        assert self._process is not None
        os.killpg(self._process.pid, 18)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.uri}/health", timeout=1).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def settings_of(server: MlflowServer, folder: Path) -> Settings:
    """Settings that track into this server."""
    return Settings(MLFLOW_TRACKING_URI=server.uri, state_dir=folder, request_timeout_s=3)


def experiment() -> MlflowConfig:
    """An experiment of the test's own."""
    return MlflowConfig(exp_name=f"test-{uuid.uuid4().hex}", exp_desc="A test.", exp_tags={"team": "line-3"})


def own_metrics(client: MlflowClient, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Every (step, value) of a run's metrics, without those of the system."""
    names = [name for name in client.get_run(run_id).data.metrics if not name.startswith("system/")]
    return {
        name: sorted((point.step, point.value) for point in client.get_metric_history(run_id, name)) for name in names
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _serve(name: str) -> Iterator[MlflowServer]:
    folder = Path(tempfile.mkdtemp(prefix=f"onsight-{name}-"))
    server = MlflowServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mlflow_server() -> Iterator[MlflowServer]:
    """A server for the whole session; tests use experiments and model names of their own and never stop it."""
    yield from _serve("mlflow")


@pytest.fixture(scope="module")
def stoppable_mlflow() -> Iterator[MlflowServer]:
    """A server to be killed and started; a test that uses it leaves it running."""
    yield from _serve("stoppable-mlflow")
