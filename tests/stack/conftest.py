"""The running stack, reached the way people reach it: published ports, key files, and Compose's commands."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

QUICK = (
    "train.hparams.epochs=1",
    "train.hparams.freeze_epochs=1",
    "evaluate.gate.minimum.accuracy=0.1",
    "evaluate.gate.minimum.balanced_accuracy=0.1",
    "evaluate.gate.margin=-1",
    "evaluate.gate.max_regression=1",
)


@dataclass(frozen=True)
class Stack:
    """The stack of this checkout.

    Attributes:
        ports: Of the published doors, by the name of their variable.
    """

    root: Path
    ports: dict[str, str]

    @property
    def url(self) -> str:
        """The one door."""
        return f"http://127.0.0.1:{self.ports['NGINX_PORT']}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['MLFLOW_PORT']}"

    @property
    def prefect_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['PREFECT_PORT']}/api"

    def secret(self, name: str) -> str:
        return (self.root / "secrets" / name).read_text().strip()

    def compose(self, *arguments: str, check: bool = True) -> str:
        command = [*shlex.split(os.environ.get("COMPOSE", "docker-compose")), *arguments]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def wait(self) -> None:
        """Until every container is healthy."""
        subprocess.run(["sh", "services/wait.sh"], cwd=self.root, check=True)

    def rows(self, query: str, database: str = "dl_service") -> str:
        """What Postgres answers, one row a line."""
        psql = ("psql", "-U", "postgres", "-d", database, "-tAc", query)
        return self.compose("exec", "-T", "postgres", *psql).strip()

    def containers(self) -> list[dict[str, Any]]:
        """What Docker knows of every container."""
        identifiers = self.compose("ps", "-q").split()
        shown = subprocess.run(["docker", "inspect", *identifiers], capture_output=True, text=True, check=True)
        return list(json.loads(shown.stdout))

    def client(self, key: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.secret(key)}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)


@dataclass(frozen=True)
class FlowRun:
    """A full flow that ran inside the stack."""

    output: str
    seconds: float


@pytest.fixture(scope="session")
def stack(repository: Path) -> Stack:
    """The stack that `make up` started."""
    lines = [line for line in (repository / ".env").read_text().splitlines() if "_PORT=" in line]
    running = Stack(repository, dict(line.split("=", 1) for line in lines))
    running.wait()
    return running


@pytest.fixture(scope="session")
def flow_run(stack: Stack) -> FlowRun:
    """The README's command in JupyterLab's container, with one epoch."""
    changes = [word for change in QUICK for word in ("--set", change)]
    started_s = time.monotonic()
    command = ("python", "run_flow.py", "--config", "configs/full_flow_config.yaml", *changes)
    output = stack.compose("exec", "-T", "jupyter", *command)
    return FlowRun(output, time.monotonic() - started_s)


@pytest.fixture(scope="session")
def photograph(repository: Path) -> bytes:
    """A solar cell of the demo."""
    return next((repository / "datasets/elpv/images/test/defective").glob("*.png")).read_bytes()


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """Through Nginx, with the key of the deploy step."""
    with stack.client("deploy_api_key") as opened:
        yield opened


def wait_until(claim: Callable[[], bool], timeout_s: float = 60) -> None:
    """Asks again and again until it is so."""
    deadline_s = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline_s, f"not so after {timeout_s:g} s"
        time.sleep(0.25)
