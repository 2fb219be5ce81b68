"""A service of two workers on a Postgres that can be stopped, and the counts of all scenarios."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.graphs import write_slow, write_wrong_shape
from tests.faults.ledger import settle
from tests.faults.load import Load, continuous_load
from tests.faults.oracle import Oracle, make_oracle
from tests.faults.report import Counts, table, write
from tests.servers.bundle import BundleStore, publish_small
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.postgres import PostgresServer

WORKERS = 2
REPORT_VARIABLE = "FAULTS_REPORT"
_COUNTS = pytest.StashKey[list[Counts]]()


@dataclass(frozen=True)
class Faults:
    """Everything a scenario needs; ``postgres`` may be stopped."""

    store: BundleStore
    oracle: Oracle
    postgres: PostgresServer
    make_service: Callable[..., ServiceProcess]
    results: list[Counts]

    def serve(self, **environment: str) -> tuple[ServiceProcess, str]:
        """A service that serves the first bundle, and the URL of its database."""
        url = self.postgres.create_database()
        service = self.make_service(
            ONSIGHT_CENTRAL_STORAGE_URL=self.store.url,
            ONSIGHT_DATABASE_URL=url,
            DL_SERVICE_WORKERS=str(WORKERS),
            **environment,
        )
        service.start()
        wait_until(lambda: len(service.worker_pids()) == WORKERS)
        service.deploy(self.store.first)
        return service, url

    @contextmanager
    def load(self, service: ServiceProcess, clients: int = 4) -> Iterator[Load]:
        """Keeps the service busy for the length of the block."""
        with continuous_load(service.url, self.oracle, clients) as load:
            yield load

    def conclude(
        self, scenario: str, load: Load, url: str, *, allowed: Iterable[str] = (), may_miss: bool = False, **more: Any
    ) -> Counts:
        """Compares with the database, keeps the counts, and asserts what holds for every scenario."""
        ledger = settle(url, load, may_miss=may_miss)
        counts = Counts.of(scenario, time.monotonic() - load.began_s, load, ledger, allowed)
        counts.more.update(more)
        self.results.append(counts)
        counts.assert_sound(may_miss=may_miss)
        return counts


@pytest.fixture(scope="session")
def slow_bundle(bundle_store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    return publish_small(Path(bundle_store.url), 4, tmp_path_factory.mktemp("slow"), write_slow)


@pytest.fixture(scope="session")
def wrong_shape_bundle(bundle_store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    return publish_small(Path(bundle_store.url), 5, tmp_path_factory.mktemp("wrong"), write_wrong_shape)


@pytest.fixture(scope="session")
def oracle(bundle_store: BundleStore, slow_bundle: str, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    bundles = (bundle_store.first, bundle_store.second, slow_bundle)
    return make_oracle(bundle_store.url, bundles, tmp_path_factory.mktemp("oracle"))


@pytest.fixture
def results(request: pytest.FixtureRequest) -> list[Counts]:
    """The counts of all scenarios, for the table in the end."""
    return request.config.stash.setdefault(_COUNTS, [])


@pytest.fixture
def faults(
    bundle_store: BundleStore,
    oracle: Oracle,
    stoppable_postgres: PostgresServer,
    make_service: Callable[..., ServiceProcess],
    results: list[Counts],
) -> Faults:
    return Faults(bundle_store, oracle, stoppable_postgres, make_service, results)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Shows the counts, and keeps them where the environment says."""
    results = config.stash.get(_COUNTS, [])
    if not results:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(table(results))
    for one in results:
        if one.more:
            terminalreporter.write_line(f"{one.scenario}: {one.more}")
    if path := os.environ.get(REPORT_VARIABLE):
        write(Path(path), results)
