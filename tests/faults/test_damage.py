"""A bundle that is damaged after it came to be served."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tests.faults.conftest import Faults
from tests.faults.test_kills import kill_one_worker


def test_worker_that_restarts_beside_a_damaged_bundle_refuses_nobody(faults: Faults, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    shutil.copytree(faults.store.url, storage)
    damaged = replace(faults, store=replace(faults.store, url=str(storage)))
    service, url = damaged.serve()
    service.deploy(faults.store.second)
    graph = storage / "models" / faults.store.second / "model.onnx"

    with damaged.load(service) as load:
        load.wait_for(100)
        graph.chmod(0o644)
        graph.write_bytes(graph.read_bytes() + b"\0")
        with load.killing():
            kill_one_worker(service)
        load.wait_for(300)

    damaged.conclude("restart beside a damaged bundle", load, url)
