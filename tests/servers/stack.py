"""The running stack, reached the way people reach it: published ports, key files, and Compose's commands."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.dl_service import wait_until

# A model that is not worth much, in little time; the gate lets it through.
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
        settings: Of ``.env``, or of the environment where that says something else.
    """

    root: Path
    settings: dict[str, str]

    @property
    def url(self) -> str:
        """The one door."""
        return self.door("NGINX")

    @property
    def gaps(self) -> set[str]:
        """The services that this machine cannot have: ``STACK_GAPS``."""
        return set(os.environ.get("STACK_GAPS", "").split())

    def door(self, name: str) -> str:
        """The URL of a published port, by the first part of its variable."""
        return f"http://127.0.0.1:{self.settings[f'{name}_PORT']}"

    def secret(self, name: str) -> str:
        return (self.root / "secrets" / name).read_text().strip()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of Compose."""
        command = [*shlex.split(os.environ.get("COMPOSE", "docker-compose")), *arguments]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)

    def compose(self, *arguments: str) -> str:
        """What a command of Compose prints; it must not fail."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def wait(self) -> None:
        """Until every container is healthy."""
        done = subprocess.run(["sh", "services/wait.sh"], cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def rows(self, query: str, database: str = "dl_service") -> str:
        """What Postgres answers to the reader of dashboards, one row a line."""
        [postgres] = self._identifiers("postgres")
        psql = ("psql", "-h", "127.0.0.1", "-U", "reader", "-d", database, "-v", "ON_ERROR_STOP=1", "-tAc", query)
        command = ["docker", "exec", "-e", "PGPASSFILE=/run/secrets/reader_database", postgres, *psql]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{query}"
        return done.stdout.strip()

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """What Docker knows of the containers, of all services unless some are named."""
        identifiers = [found for service in services or ("",) for found in self._identifiers(service)]
        shown = subprocess.run(["docker", "inspect", *identifiers], capture_output=True, text=True, check=True)
        return list(json.loads(shown.stdout))

    def _identifiers(self, service: str) -> list[str]:
        # Docker itself answers sooner than the older Compose does.
        labels = {"project": self.settings["COMPOSE_PROJECT_NAME"], "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items() if value]
        shown = subprocess.run(["docker", "ps", "-aq", *filters], capture_output=True, text=True, check=True)
        return shown.stdout.split()

    def scale(self, replicas: int) -> None:
        """Starts or stops replicas of dl_service, and waits until they serve what the others serve."""
        self.compose("up", "-d", "--no-deps", "--no-recreate", "--scale", f"dl_service={replicas}", "dl_service")
        self.wait()
        wait_until(lambda: len(self.serving()) == replicas, 60)

    def serving(self) -> dict[str, str]:
        """The bundle that each replica serves, by its own report."""
        with self.client("deploy_api_key") as door:
            workers = door.get("/models/current").json()["workers"]
        return {worker["replica"]: worker["bundle_name"] for worker in workers if worker["bundle_name"]}

    def client(self, key: str = "") -> httpx.Client:
        """Through Nginx, with the key of a secret file."""
        headers = {"Authorization": f"Bearer {self.secret(key)}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)

    def prometheus(self, path: str, **parameters: str) -> Any:
        """What Prometheus' API answers."""
        url = f"{self.door('PROMETHEUS')}/api/v1/{path}"
        answer = httpx.get(url, params=parameters, trust_env=False, timeout=30).json()
        assert answer["status"] == "success", f"{answer['error']}\n{parameters}"
        return answer["data"]


@dataclass(frozen=True)
class FlowRun:
    """A full flow that ran inside the stack."""

    output: str
    seconds: float


@pytest.fixture(scope="session")
def stack(repository: Path) -> Stack:
    """The stack that ``tests/stack/run.sh`` started."""
    lines = (repository / ".env").read_text().splitlines()
    written = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    running = Stack(repository, {name: os.environ.get(name, value) for name, value in written.items()})
    running.wait()
    return running


@pytest.fixture(scope="session")
def flow_run(stack: Stack) -> FlowRun:
    """The README's command in JupyterLab's container, with one epoch."""
    return run_flow(stack, "jupyter")


@pytest.fixture(scope="session")
def served_model(stack: Stack, request: pytest.FixtureRequest) -> None:
    """A version is served: of a flow that ran before, or of one that runs now."""
    with stack.client() as visitor:
        is_served = visitor.get("/readyz").is_success
    if not is_served:
        request.getfixturevalue("flow_run")


def run_flow(stack: Stack, service: str) -> FlowRun:
    """A full flow with one epoch in the container of ``service``."""
    started_s = time.monotonic()
    output = run_config(stack, service, "full", *QUICK)
    return FlowRun(output, time.monotonic() - started_s)


def run_config(stack: Stack, service: str, flow: str, *changes: str, options: tuple[str, ...] = ()) -> str:
    """Runs ``run_flow.py`` with a config of the repository, some keys of it changed; what it prints."""
    words = [word for change in changes for word in ("--set", change)]
    command = ("python", "run_flow.py", "--config", f"configs/{flow}_flow_config.yaml", *words, *options)
    return stack.compose("exec", "-T", service, *command)


@pytest.fixture(scope="session")
def photograph(repository: Path) -> bytes:
    """A solar cell of the demo."""
    return next((repository / "datasets/elpv/images/test/defective").glob("*.png")).read_bytes()


@pytest.fixture
def door(stack: Stack) -> Iterator[httpx.Client]:
    """Through Nginx, with the key of the deploy step."""
    with stack.client("deploy_api_key") as opened:
        yield opened


def run_deployment(stack: Stack, name: str, timeout_s: float) -> None:
    """Has the worker run a deployment of Prefect now; it must complete.

    Args:
        name: ``<flow>/<deployment>``.
        timeout_s: For the run.
    """
    with httpx.Client(base_url=f"{stack.door('PREFECT')}/api", trust_env=False, timeout=30) as prefect:
        deployment = prefect.get(f"/deployments/name/{name}").json()["id"]
        run = prefect.post(f"/deployments/{deployment}/create_flow_run", json={}).json()["id"]

        def state() -> str:
            return str(prefect.get(f"/flow_runs/{run}").json()["state_type"])

        wait_until(lambda: state() in ("COMPLETED", "FAILED", "CRASHED"), timeout_s=timeout_s)
        logs = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        told = [line["message"] for line in prefect.post("/logs/filter", json=logs).json()]
        assert state() == "COMPLETED", "\n".join(told)
