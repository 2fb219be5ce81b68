"""Connections shared by processes: counted for each, and left to none that does not look."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.dl_service.fair_loop import ConnectionCounts
from tests.servers.dl_service import wait_until


@contextmanager
def another_process(join: Callable[[], None]) -> Iterator[int]:
    """A forked process that has joined; it waits until it is killed."""
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        join()
        os.write(done, b"1")
        signal.pause()
        os._exit(0)
    os.read(ready, 1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(done)


def test_one_with_more_connections_than_another_knows_it() -> None:
    counts = ConnectionCounts(2)

    def join() -> None:
        counts.join()
        counts.add(1)

    with another_process(join):
        counts.join()
        assert not counts.has_more_than_another()
        counts.add(1)
        assert not counts.has_more_than_another()
        counts.add(1)
        assert counts.has_more_than_another()
        counts.add(-1)
        assert not counts.has_more_than_another()


def test_one_that_was_killed_counts_until_somebody_waited_for_it_in_vain() -> None:
    counts = ConnectionCounts(2)
    with another_process(counts.join):
        counts.join()
        counts.add(1)
        assert counts.has_more_than_another()
    assert counts.has_more_than_another()

    counts.give_up_waiting()

    assert not counts.has_more_than_another()


def test_one_that_is_stuck_is_waited_for_again_when_it_has_looked() -> None:
    counts = ConnectionCounts(2)

    def join() -> None:
        signal.signal(signal.SIGUSR1, lambda *_: counts.look())
        counts.join()

    with another_process(join) as pid:
        counts.join()
        counts.add(1)
        counts.give_up_waiting()
        assert not counts.has_more_than_another()

        os.kill(pid, signal.SIGUSR1)

        wait_until(counts.has_more_than_another)


def test_one_that_replaces_a_killed_one_begins_with_none() -> None:
    counts = ConnectionCounts(1)

    def join() -> None:
        counts.join()
        counts.add(5)

    with another_process(join):
        pass
    counts.join()

    assert not counts.has_more_than_another()


def test_one_that_left_counts_no_more_whatever_it_still_has() -> None:
    counts = ConnectionCounts(2)

    def join() -> None:
        counts.join()
        counts.leave()
        counts.add(-1)

    with another_process(join):
        counts.join()
        counts.add(1)

        assert not counts.has_more_than_another()


def test_without_a_free_place_connections_are_taken_as_they_come() -> None:
    counts = ConnectionCounts(1)
    with another_process(counts.join), another_process(counts.join):
        counts.join()
        counts.add(3)

        assert not counts.has_more_than_another()
