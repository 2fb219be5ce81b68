"""SIGKILL for every service in turn while predictions go on: each comes back by itself, and none that was acknowledged
is missing."""

from __future__ import annotations

import pytest

from tests.faults.stack.conftest import StackFaults

# Those that a prediction passes through: without them it fails, for seconds.
_IN_THE_WAY = ("dl_service", "nginx")
_BESIDE = (
    "alertmanager",
    "grafana",
    "jupyter",
    "mlflow",
    "nginx_exporter",
    "node_exporter",
    "pgadmin",
    "postgres",
    "postgres_exporter",
    "prefect",
    "prefect_worker",
    "prometheus",
)


@pytest.mark.parametrize("service", _BESIDE)
def test_a_service_beside_the_way_is_killed_and_no_prediction_fails(service: str, stack_faults: StackFaults) -> None:
    if service in stack_faults.stack.gaps:
        pytest.skip(f"{service} is not to be had on this machine")
    with stack_faults.load() as load:
        back_s = stack_faults.kill(service)
        load.wait_for(20)

    counts = stack_faults.conclude(f"kill {service}", load, back_s=back_s)
    assert (counts.broken, counts.refused) == (0, {})
    counts.assert_sound()


@pytest.mark.parametrize("service", _IN_THE_WAY)
def test_a_service_in_the_way_is_killed_and_nothing_acknowledged_is_lost(
    service: str, stack_faults: StackFaults
) -> None:
    with stack_faults.load() as load:
        with load.killing():
            back_s = stack_faults.kill(service)
        load.wait_for(20)

    counts = stack_faults.conclude(f"kill {service}", load, allowed=("no_replica",), back_s=back_s)
    counts.assert_sound()


def test_one_of_three_replicas_is_killed_and_no_prediction_fails(stack_faults: StackFaults) -> None:
    stack_faults.stack.scale(3)
    try:
        with stack_faults.load(clients=4) as load:
            back_s = [stack_faults.kill("dl_service", number) for number in range(2)]
            load.wait_for(50)
    finally:
        stack_faults.stack.scale(1)

    counts = stack_faults.conclude("kill 1 of 3 dl_service, twice", load, back_s=back_s)
    assert (counts.broken, counts.refused) == (0, {})
    counts.assert_sound()
