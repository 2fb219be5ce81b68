"""A real dl_service process on a port of its own, that can be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Waits for a condition, or fails."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {holds}")
        time.sleep(0.02)


class ServiceProcess:
    """One dl_service; its settings stay the same when it is started again."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / "service.log"
        self.state_dir = folder / "state"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ONSIGHT_", "DL_SERVICE_"))},
            "ONSIGHT_STATE_DIR": str(self.state_dir),
            "DL_SERVICE_PORT": str(self.port),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.dl_service"], env=self._environment, stdout=log, stderr=log
            )
        wait_until(self._is_alive, START_TIMEOUT_S)

    def deploy(self, bundle_name: str) -> None:
        """Points it at a bundle."""
        path = f"{self.url}/update_model/{bundle_name}.yaml"
        httpx.put(path, trust_env=False, timeout=60).raise_for_status()

    def family(self) -> list[psutil.Process]:
        """Its process and all below it."""
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def worker_pids(self) -> set[int]:
        """The processes of this machine that answer requests now."""
        workers = httpx.get(f"{self.url}/models/current", trust_env=False, timeout=30).json()["workers"]
        alive = {process.pid for process in self.family()}
        return {worker["pid"] for worker in workers} & alive

    def kill_supervisor(self) -> None:
        """Ends the first of its processes alone, as a crash would."""
        self._end(signal.SIGKILL)

    def kill(self) -> None:
        """Ends all of its processes as a crash of the machine would."""
        if self.is_running:
            below = self.family()[1:]
            self._end(signal.SIGKILL)
            for process in below:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(below, timeout=30)
        self._process = None

    def stop(self) -> int:
        """Ends it in good order; answers the exit code."""
        return self._end(signal.SIGTERM)

    def log_lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(30)
        self._process = None
        return code

    def _is_alive(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the service ended with {self._process.returncode}:\n{self.log_path.read_text()}")
        try:
            return httpx.get(f"{self.url}/livez", trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """Makes services with the environment given; they are ended with the test."""
    made: list[ServiceProcess] = []

    def make(**environment: str) -> ServiceProcess:
        folder = tmp_path / f"service-{len(made)}"
        folder.mkdir()
        made.append(ServiceProcess(folder, **environment))
        return made[-1]

    yield make
    for service in made:
        service.kill()
