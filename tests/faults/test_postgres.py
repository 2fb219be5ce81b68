"""Postgres away under load: nothing is refused, and all is there in the end, also through kills meanwhile."""

from __future__ import annotations

import os
import time

import httpx
import pytest

from tests.faults.conftest import Faults
from tests.faults.test_kills import kill_one_worker
from tests.servers.dl_service import ServiceProcess, wait_until

STOP_S = float(os.environ.get("FAULTS_POSTGRES_STOP_S", "60"))
# More than a fast machine logs between two shipments, which is no reason to refuse anything.
SMALL_OUTBOX = {"ONSIGHT_OUTBOX_MAX_BYTES": "2000000", "ONSIGHT_OUTBOX_INTERVAL_S": "0.5"}


def dropped(service: ServiceProcess) -> int:
    text = httpx.get(f"{service.url}/metrics", trust_env=False, timeout=30).text
    name = 'onsight_outbox_records_total{outcome="dropped"}'
    return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(name))


@pytest.mark.timeout(600)
def test_postgres_away_fails_and_loses_nothing(faults: Faults) -> None:
    service, url = faults.serve()

    with faults.load(service) as load:
        load.wait_for(100)
        faults.postgres.stop()
        before = len(load.acknowledged)
        time.sleep(STOP_S)
        meanwhile = len(load.acknowledged) - before
        refused = httpx.put(f"{service.url}/update_model/{faults.store.second}.yaml", trust_env=False, timeout=60)
        faults.postgres.start()
        load.wait_for(200)

    assert meanwhile > 10 * STOP_S
    assert (refused.status_code, refused.json()["code"]) == (503, "dependency_down")
    faults.conclude("Postgres away", load, url, stopped_s=STOP_S, answered_meanwhile=meanwhile)


@pytest.mark.timeout(600)
def test_service_killed_while_postgres_is_away_loses_nothing(faults: Faults) -> None:
    service, url = faults.serve()

    with faults.load(service) as load:
        load.wait_for(100)
        faults.postgres.stop()
        load.wait_for(100)
        with load.killing():
            service.kill()
            service.start()
        load.wait_for(200)
        faults.postgres.start()
        wait_until(lambda: len(service.worker_pids()) > 1)
        with load.killing():
            kill_one_worker(service)
        load.wait_for(100)

    faults.conclude("kill -9 the service while Postgres is away", load, url)


@pytest.mark.timeout(600)
def test_full_outbox_that_refuses_loses_nothing(faults: Faults) -> None:
    service, url = faults.serve(**SMALL_OUTBOX, ONSIGHT_OUTBOX_WHEN_FULL="refuse")
    refusal = (503, "storage_failed")

    with faults.load(service) as load:
        load.wait_for(50)
        faults.postgres.stop()
        wait_until(lambda: load.refused[refusal] > 100, timeout_s=120)
        faults.postgres.start()
        load.wait_for(100)
        load.wait_until_calm()

    faults.conclude("outbox full, refuse", load, url, allowed=[refusal[1]])


@pytest.mark.timeout(600)
def test_full_outbox_that_drops_counts_what_it_drops(faults: Faults) -> None:
    service, url = faults.serve(**SMALL_OUTBOX)

    with faults.load(service) as load:
        load.wait_for(50)
        faults.postgres.stop()
        wait_until(lambda: dropped(service) > 200, timeout_s=120)
        faults.postgres.start()
        load.wait_for(100)

    outbox = service.state_dir / "dl_service" / "outbox"
    wait_until(lambda: not [*outbox.glob("*.open"), *outbox.glob("*.sealed")])
    counts = faults.conclude("outbox full, drop", load, url, may_miss=True)
    lost = counts.ledger["missing"] + counts.ledger["missing_calls"]
    counts.more.update(dropped_by_policy=dropped(service), lost_rows=lost)
    # Never too few; rows that Postgres took just before it went away, of a segment that was then dropped, count too.
    assert 0 <= counts.more["dropped_by_policy"] - lost < 200
    assert counts.refused == {}
