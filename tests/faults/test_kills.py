"""kill -9 under load: of one worker, of the supervisor, of the whole service."""

from __future__ import annotations

import os
import signal
import socket
import time

from tests.faults.conftest import WORKERS, Faults
from tests.servers.dl_service import ServiceProcess, wait_until

KILLS = 4


def kill_one_worker(service: ServiceProcess) -> float:
    """Kills a worker, waits until another one stands in for it, and gives the seconds that it took."""
    before = service.worker_pids()
    assert len(before) == WORKERS
    victim = min(before)
    began_s = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(service.worker_pids() - {victim}) == WORKERS)
    return time.monotonic() - began_s


def is_port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


def test_killed_workers_are_replaced_and_nothing_is_lost(faults: Faults) -> None:
    # A long interval, so that the kill always finds records that were not shipped.
    service, url = faults.serve(ONSIGHT_OUTBOX_INTERVAL_S="0.6")
    replaced_s: list[float] = []

    with faults.load(service) as load:
        for _ in range(KILLS):
            load.wait_for(100)
            with load.killing():
                replaced_s.append(round(kill_one_worker(service), 2))
        load.wait_for(100)

    faults.conclude("kill -9 a worker", load, url, replaced_s=replaced_s)
    assert len(load.broken) <= KILLS * 4  # at most what each client had under way


def test_killed_service_starts_again_and_nothing_is_lost(faults: Faults) -> None:
    service, url = faults.serve(ONSIGHT_OUTBOX_INTERVAL_S="0.6")
    down_s: list[float] = []

    with faults.load(service) as load:
        for _ in range(KILLS):
            load.wait_for(100)
            began_s = time.monotonic()
            with load.killing():
                service.kill()
                service.start()
            down_s.append(round(time.monotonic() - began_s, 2))
        load.wait_for(100)

    faults.conclude("kill -9 the service", load, url, down_s=down_s)


def test_killed_supervisor_takes_its_workers_along(faults: Faults) -> None:
    service, url = faults.serve()

    with faults.load(service) as load:
        load.wait_for(100)
        with load.killing():
            service.kill_supervisor()
            wait_until(lambda: is_port_free(service.port))
            service.start()
        load.wait_for(100)

    faults.conclude("kill -9 the supervisor", load, url)
