"""Postgres away, Nginx reloaded, containers recreated, while predictions go on."""

from __future__ import annotations

import os
import time

from tests.faults.stack.conftest import StackFaults

STOP_S = float(os.environ.get("FAULTS_POSTGRES_STOP_S", "60"))


def test_postgres_is_stopped_and_no_prediction_fails_or_is_lost(stack_faults: StackFaults) -> None:
    with stack_faults.load() as load:
        stack_faults.stack.compose("stop", "postgres")
        before = len(load.acknowledged)
        time.sleep(STOP_S)
        meanwhile = len(load.acknowledged) - before
        stack_faults.stack.compose("start", "postgres")
        load.wait_for(50)
    stack_faults.stack.wait()

    counts = stack_faults.conclude("Postgres stopped", load, stopped_s=STOP_S, answered_meanwhile=meanwhile)
    assert meanwhile > STOP_S
    assert (counts.broken, counts.refused) == (0, {})
    counts.assert_sound()


def test_nginx_is_reloaded_and_no_prediction_fails(stack_faults: StackFaults) -> None:
    with stack_faults.load() as load:
        for _ in range(5):
            stack_faults.stack.compose("kill", "-s", "HUP", "nginx")
            load.wait_for(30)

    counts = stack_faults.conclude("Nginx reloaded 5 times", load)
    assert (counts.broken, counts.refused) == (0, {})
    counts.assert_sound()


def test_a_recreated_service_refuses_for_seconds_at_most_and_loses_nothing(stack_faults: StackFaults) -> None:
    with stack_faults.load() as load:
        began_s = time.monotonic()
        with load.killing():
            stack_faults.stack.compose("up", "-d", "--no-deps", "--force-recreate", "dl_service")
            load.wait_for(20)
        seconds = round(time.monotonic() - began_s, 1)
    stack_faults.stack.wait()

    stack_faults.conclude("dl_service recreated", load, allowed=("no_replica",), seconds=seconds).assert_sound()


def test_a_recreated_replica_of_three_fails_no_prediction(stack_faults: StackFaults) -> None:
    stack = stack_faults.stack
    stack.scale(3)
    try:
        with stack_faults.load(clients=4) as load:
            old = stack.containers("dl_service")[0]["Id"]
            stack_faults.replace(old)
            stack.scale(3)
            load.wait_for(50)
    finally:
        stack.scale(1)

    counts = stack_faults.conclude("1 of 3 dl_service recreated", load)
    assert (counts.broken, counts.refused) == (0, {})
    counts.assert_sound()


def test_the_door_is_recreated_and_nothing_acknowledged_is_lost(stack_faults: StackFaults) -> None:
    with stack_faults.load() as load:
        began_s = time.monotonic()
        with load.killing():
            stack_faults.stack.compose("up", "-d", "--no-deps", "--force-recreate", "nginx")
            load.wait_for(20)
        seconds = round(time.monotonic() - began_s, 1)
    stack_faults.stack.wait()

    stack_faults.conclude("Nginx recreated", load, allowed=("no_replica",), seconds=seconds).assert_sound()
