"""A bundle that is damaged after it came to be served."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import Faults
from tests.faults.test_kills import kill_one_worker
from tests.servers import pictures
from tests.servers.bundle import damage_graph

GOOD = pictures.jpeg()


@pytest.mark.timeout(300)
def test_worker_that_restarts_beside_a_damaged_bundle_refuses_nobody(faults: Faults, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    shutil.copytree(faults.store.url, storage)
    damaged = replace(faults, store=replace(faults.store, url=str(storage)))
    service, url = damaged.serve()
    service.deploy(faults.store.second)

    with damaged.load(service) as load:
        load.wait_for(100)
        damage_graph(damaged.store.url, faults.store.second)
        with load.killing():
            kill_one_worker(service)
        load.wait_for(100)

    damaged.conclude("restart beside a damaged bundle", load, url)
    # Clients stay with the worker that they are connected to: new ones meet the new worker too.
    fresh = [httpx.post(f"{service.url}/predict", content=GOOD, trust_env=False, timeout=30) for _ in range(40)]
    assert Counter(answer.status_code for answer in fresh) == {200: 40}
