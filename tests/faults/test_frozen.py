"""Postgres stands still: connections stay open and nothing answers. Predictions and probes must not notice."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.faults.conftest import Faults

FROZEN_S = 20.0
ASKERS = 24


def status_of(url: str, timeout_s: float) -> int:
    """The status of an answer; 0 when none came in time."""
    try:
        return httpx.get(url, trust_env=False, timeout=timeout_s).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.timeout(300)
def test_frozen_postgres_slows_no_prediction(faults: Faults) -> None:
    service, url = faults.serve()

    with faults.load(service) as load:
        load.wait_for(100)
        with faults.postgres.frozen():
            before = len(load.acknowledged)
            time.sleep(FROZEN_S)
            meanwhile = len(load.acknowledged) - before
        load.wait_for(200)

    faults.conclude("Postgres frozen", load, url, frozen_s=FROZEN_S, answered_meanwhile=meanwhile)
    assert meanwhile > 10 * FROZEN_S
    assert load.slowest_s < 2


@pytest.mark.timeout(300)
def test_frozen_postgres_fails_no_probe_while_others_wait_for_it(faults: Faults) -> None:
    service, _ = faults.serve()

    with ThreadPoolExecutor(ASKERS) as askers, faults.postgres.frozen():
        asked = [askers.submit(status_of, f"{service.url}/models/current", FROZEN_S) for _ in range(ASKERS)]
        time.sleep(1)
        probes = [status_of(f"{service.url}{path}", 5.0) for path in ("/health_check", "/readyz", "/livez") * 8]
        for one in asked:
            one.cancel()

    assert set(probes) == {200}


@pytest.mark.timeout(300)
def test_frozen_postgres_does_not_keep_the_service_from_stopping(faults: Faults) -> None:
    service, url = faults.serve()
    with faults.load(service) as load:
        load.wait_for(100)

    with faults.postgres.frozen():
        time.sleep(1)
        began_s = time.monotonic()
        code = service.stop()
        stopped_s = time.monotonic() - began_s

    service.start()
    faults.conclude("stop while Postgres is frozen", load, url, stopped_s=round(stopped_s, 1), exit_code=code)
    assert stopped_s < 25
