"""Several workers in several replicas: one wish, and all of them follow it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import psutil
import pytest

from tests.servers import pictures
from tests.servers.bundle import BundleStore
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.postgres import PostgresServer

N_WORKERS = 2


@pytest.fixture
def replicas(
    make_service: Callable[..., ServiceProcess], postgres_server: PostgresServer, bundle_store: BundleStore
) -> Iterator[list[ServiceProcess]]:
    """Two replicas of two workers each, that share a database and a storage, and serve the first bundle."""
    url = postgres_server.create_database()
    made = [
        make_service(
            ONSIGHT_DATABASE_URL=url,
            ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url,
            DL_SERVICE_WORKERS=str(N_WORKERS),
        )
        for _ in range(2)
    ]
    for replica in made:
        replica.start()
    wait_until(lambda: len(workers(made[0])) == 2 * N_WORKERS)
    made[0].deploy(bundle_store.first)
    yield made
    for replica in made:
        replica.stop()


def get(service: ServiceProcess, path: str) -> Any:
    return httpx.get(f"{service.url}{path}", trust_env=False).json()


def workers(service: ServiceProcess) -> list[dict[str, Any]]:
    return list(get(service, "/models/current")["workers"])


def versions_seen(service: ServiceProcess, n: int = 24) -> set[int]:
    """The versions that answer ``n`` requests on connections of their own."""

    def ask(index: int) -> int:
        answer = httpx.post(f"{service.url}/predict", content=pictures.jpeg(index), trust_env=False)
        return int(answer.raise_for_status().json()["model_version"])

    with ThreadPoolExecutor(4) as threads:
        return set(threads.map(ask, range(n)))


def test_update_reaches_every_worker_of_every_replica(
    replicas: list[ServiceProcess], bundle_store: BundleStore
) -> None:
    answer = httpx.put(f"{replicas[1].url}/update_model/{bundle_store.second}.yaml", trust_env=False, timeout=30).json()

    assert answer["is_converged"], answer
    assert [worker["bundle_name"] for worker in answer["workers"]] == [bundle_store.second] * (2 * N_WORKERS)
    assert len({worker["pid"] for worker in answer["workers"]}) == 2 * N_WORKERS
    assert versions_seen(replicas[0]) == versions_seen(replicas[1]) == {2}

    back = httpx.post(f"{replicas[0].url}/rollback?reason=test", trust_env=False, timeout=30).json()

    assert (back["bundle_name"], back["is_converged"]) == (bundle_store.first, True)
    assert versions_seen(replicas[0]) == versions_seen(replicas[1]) == {1}
    assert get(replicas[1], "/models/current")["desired"]["kind"] == "rollback"


def test_killed_worker_is_replaced_and_serves_the_desired_version(
    replicas: list[ServiceProcess], bundle_store: BundleStore
) -> None:
    victim = int(workers(replicas[0])[0]["pid"])

    os.kill(victim, signal.SIGKILL)

    def is_replaced() -> bool:
        found = workers(replicas[0])
        serving = [worker for worker in found if worker["bundle_name"] == bundle_store.first]
        return victim not in [worker["pid"] for worker in found] and len(serving) == 2 * N_WORKERS

    wait_until(is_replaced, timeout_s=60)
    metrics = httpx.get(f"{replicas[0].url}/metrics", trust_env=False).text
    assert f'pid="{victim}"' not in metrics


def test_workers_are_forked_from_the_supervisor(replicas: list[ServiceProcess]) -> None:
    supervisor = psutil.Process(replicas[0].pid)
    workers = [psutil.Process(pid) for pid in replicas[0].worker_pids()]

    assert len(workers) == N_WORKERS
    # One that is spawned would be another command.
    assert [(worker.ppid(), worker.cmdline()) for worker in workers] == [
        (supervisor.pid, supervisor.cmdline())
    ] * N_WORKERS


def test_worker_told_to_end_before_it_listens_ends(make_service: Callable[..., ServiceProcess]) -> None:
    service = make_service(DL_SERVICE_WORKERS=str(N_WORKERS))
    service.start()
    wait_until(lambda: len(service.worker_pids()) == N_WORKERS)
    before = service.worker_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    supervisor = psutil.Process(service.pid)

    def newcomers() -> list[psutil.Process]:
        return [child for child in supervisor.children() if child.pid not in before]

    wait_until(lambda: bool(newcomers()))
    (newcomer, *_) = newcomers()
    newcomer.terminate()
    newcomer.wait(10)
    wait_until(lambda: len(service.worker_pids()) == N_WORKERS)


def test_image_is_there_for_every_worker_as_soon_as_its_prediction_is_answered(replicas: list[ServiceProcess]) -> None:
    for seed in range(5):
        image = pictures.jpeg(seed)
        answer = httpx.post(f"{replicas[0].url}/predict", content=image, trust_env=False).raise_for_status().json()
        url = f"{replicas[0].url}/predictions/{answer['prediction_id']}/image"
        with many_connections(replicas[0], 4):  # so that the next ones go to both workers
            found = [httpx.get(url, trust_env=False) for _ in range(4)]
        assert [one.content for one in found] == [image] * 4, found[0].text


def test_connections_that_stay_open_are_shared_evenly(replicas: list[ServiceProcess]) -> None:
    # One after the other: a worker that the machine holds up for a moment gets the next ones.
    with many_connections(replicas[0], 24, at_once=1):
        open_ones = [connections(pid) for pid in replicas[0].worker_pids()]

    assert sum(open_ones) >= 24
    assert max(open_ones) - min(open_ones) <= 4, open_ones


def test_worker_that_is_stuck_keeps_no_connection_from_the_other(replicas: list[ServiceProcess]) -> None:
    stuck, other = replicas[0].worker_pids()
    os.kill(stuck, signal.SIGSTOP)
    try:
        with many_connections(replicas[0], 8):
            assert connections(other) >= 8
    finally:
        os.kill(stuck, signal.SIGCONT)


@contextmanager
def many_connections(service: ServiceProcess, n: int, at_once: int = 8) -> Iterator[None]:
    """``n`` clients that have been answered, and keep their connections for the length of the block."""
    with ExitStack() as opened:
        clients = [opened.enter_context(httpx.Client(base_url=service.url, trust_env=False)) for _ in range(n)]
        with ThreadPoolExecutor(at_once) as threads:
            assert {answer.status_code for answer in threads.map(lambda client: client.get("/livez"), clients)} == {200}
        yield


def connections(pid: int) -> int:
    found = psutil.Process(pid).net_connections("tcp")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in found)
