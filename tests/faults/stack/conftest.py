"""The running stack with a small model whose right answers are known, and counts like those of the service alone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.ledger import settle
from tests.faults.load import Load, continuous_load
from tests.faults.oracle import Oracle
from tests.faults.report import Counts
from tests.servers.bundle import BundleStore
from tests.servers.dl_service import wait_until
from tests.servers.stack import Stack


@dataclass(frozen=True)
class StackFaults:
    """The stack, which serves the first bundle of ``store``."""

    stack: Stack
    store: BundleStore
    oracle: Oracle
    results: list[Counts]

    @property
    def database_url(self) -> str:
        """Postgres on the network that Docker made, for the reader of dashboards."""
        address = _addresses(self.stack, "postgres")[0]
        password = self.stack.secret("reader_password")
        return f"postgresql+psycopg2://reader:{password}@{address}:5432/dl_service"

    @contextmanager
    def load(self, clients: int = 2) -> Iterator[Load]:
        """Keeps the door busy for the length of the block."""
        headers = {"Authorization": f"Bearer {self.stack.secret('web_api_key')}"}
        with continuous_load(self.stack.url, self.oracle, clients, headers) as load:
            yield load

    def conclude(self, scenario: str, load: Load, allowed: Iterable[str] = (), **more: Any) -> Counts:
        """Looks for every acknowledged prediction in Postgres, and keeps the counts."""
        ledger = settle(self.database_url, load, is_shared=True)
        counts = Counts.of(scenario, time.monotonic() - load.began_s, load, ledger, allowed)
        counts.more.update(more)
        self.results.append(counts)
        return counts

    def kill(self, service: str, number: int = 0) -> float:
        """Kills a container from outside; gives the seconds until it is healthy again, by itself."""
        container = self.stack.containers(service)[number]
        began_s = time.monotonic()
        os.kill(container["State"]["Pid"], signal.SIGKILL)
        wait_until(lambda: _is_well_again(container), timeout_s=180)
        return round(time.monotonic() - began_s, 1)

    def replace(self, identifier: str) -> None:
        """Stops a container as an update would, and removes it."""
        subprocess.run(["docker", "stop", identifier], capture_output=True, check=True)
        subprocess.run(["docker", "rm", identifier], capture_output=True, check=True)


def _is_well_again(before: dict[str, Any]) -> bool:
    state = "{{.State.Pid}} {{.State.Running}} {{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}"
    shown = subprocess.run(
        ["docker", "inspect", "-f", state, before["Id"]], capture_output=True, text=True, check=True
    ).stdout.split()
    return int(shown[0]) not in (0, before["State"]["Pid"]) and shown[1:] == ["true", "healthy"]


def _addresses(stack: Stack, service: str) -> list[str]:
    return [
        network["IPAddress"]
        for container in stack.containers(service)
        for name, network in container["NetworkSettings"]["Networks"].items()
        if name.endswith("back")
    ]


@pytest.fixture(scope="session")
def small_model(stack: Stack, bundle_store: BundleStore, slow_bundle: str) -> str:
    """The bundles of the small model are in the stack's central storage, and the first is served."""
    packed = subprocess.run(["tar", "-C", bundle_store.url, "-cf", "-", "models"], capture_output=True, check=True)
    identifier = stack.containers("dl_service")[0]["Id"]
    unpack = [
        "docker",
        "exec",
        "-i",
        identifier,
        "tar",
        "-C",
        "/central_storage",
        "-x",
        "--no-overwrite-dir",
        "-f",
        "-",
    ]
    subprocess.run(unpack, input=packed.stdout, check=True)
    with stack.client("deploy_api_key") as door:
        door.put(f"/update_model/{bundle_store.first}.yaml", timeout=120).raise_for_status()
    return bundle_store.first


@pytest.fixture
def stack_faults(
    stack: Stack, small_model: str, bundle_store: BundleStore, oracle: Oracle, results: list[Counts]
) -> StackFaults:
    return StackFaults(stack, bundle_store, oracle, results)
