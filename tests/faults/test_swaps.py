"""Fifty swaps under load, and swaps to bundles that must not be served."""

from __future__ import annotations

from statistics import median
from typing import Any

import httpx
import pytest

from tests.faults.conftest import Faults
from tests.servers.dl_service import ServiceProcess, wait_until

SWAPS = 50
# Every worker holds its buffers after these; from then on memory must not grow.
WARM_SWAPS = 10
MAX_GROWTH_BYTES = 24 * 1024 * 1024
CONVERGED_WITHIN_S = 5.0


def put(service: ServiceProcess, name: str) -> httpx.Response:
    return httpx.put(f"{service.url}/update_model/{name}.yaml", trust_env=False, timeout=60)


def current(service: ServiceProcess) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{service.url}/models/current", trust_env=False, timeout=30).json()
    return answer


def served(service: ServiceProcess) -> set[str]:
    """What the workers serve, each by its own report."""
    return {worker["bundle_name"] for worker in current(service)["workers"]}


def resident_bytes(service: ServiceProcess) -> int:
    return sum(process.memory_info().rss for process in service.family())


@pytest.mark.timeout(600)
def test_fifty_swaps_answer_rightly_and_leave_memory_flat(faults: Faults) -> None:
    service, url = faults.serve()
    names = (faults.store.second, faults.store.first)
    seconds: list[float] = []
    sizes: list[int] = []

    with faults.load(service) as load:
        for number in range(WARM_SWAPS + SWAPS):
            answer = put(service, names[number % 2])
            assert answer.status_code == 200, answer.text
            assert answer.json()["is_converged"], answer.text
            seconds.append(answer.json()["seconds"])
            load.wait_for(20)
            if number >= WARM_SWAPS:
                sizes.append(resident_bytes(service))

    growth = median(sizes[-5:]) - median(sizes[:5])
    faults.conclude(
        f"{WARM_SWAPS + SWAPS} swaps", load, url,
        median_swap_s=median(seconds), slowest_swap_s=max(seconds),
        resident_mib=[round(median(part) / 2**20, 1) for part in (sizes[:5], sizes[-5:])],
    )  # fmt: skip
    assert set(load.versions) == {1, 2}
    assert growth < MAX_GROWTH_BYTES
    assert max(seconds) < CONVERGED_WITHIN_S


def test_swaps_to_bundles_that_do_not_load_change_nothing(faults: Faults, wrong_shape_bundle: str) -> None:
    service, url = faults.serve()
    refusals = {
        faults.store.damaged: (422, "bundle_refused"),
        "cells-v99": (404, "unknown_model"),
        wrong_shape_bundle: (422, "bundle_refused"),
    }

    with faults.load(service) as load:
        for name, expected in refusals.items():
            load.wait_for(50)
            answer = put(service, name)
            assert (answer.status_code, answer.json()["code"]) == expected, name
            assert served(service) == {faults.store.first}
        load.wait_for(50)

    faults.conclude("swaps to corrupt, missing, wrong shape", load, url)
    assert set(load.versions) == {1}
    assert current(service)["desired"]["bundle_name"] == faults.store.first


@pytest.mark.timeout(600)
def test_swap_to_a_slow_bundle_is_taken_back_everywhere(faults: Faults, slow_bundle: str) -> None:
    service, url = faults.serve(ONSIGHT_CONVERGE_TIMEOUT_S="30")

    with faults.load(service) as load:
        load.wait_for(300)  # enough to know how fast the first version is, in each worker
        answer = put(service, slow_bundle)
        wait_until(lambda: served(service) == {faults.store.first} and load.versions[4] > 0, timeout_s=60)
        reason = current(service)["desired"]["reason"]
        before = load.versions[4]
        load.wait_for(100)

    faults.conclude(
        "swap to a slow bundle", load, url, put=answer.status_code, slow_answers=load.versions[4], reason=reason
    )
    assert answer.status_code in (200, 409)
    assert "did not pass its probation" in reason
    assert load.versions[4] - before <= 4  # what was under way when the workers went back
