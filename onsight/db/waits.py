"""A limit on waiting for Postgres: a server that stands still keeps its connections open, and is waited for forever.

Postgres' own timeouts run in the server that stands still, and TCP's notice only a machine that is gone.
"""

from __future__ import annotations

import select
import time

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, set_wait_callback

__all__ = ["limit_waits"]

_EVENTS = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}


class _Patience:
    """How long a wait may take; may be shortened while threads wait."""

    timeout_s = 10.0

    def wait(self, connection: psycopg2.extensions.connection) -> None:
        """Waits until the connection is done with what it was asked; psycopg2 closes it when this raises."""
        began_s = time.monotonic()
        while (state := connection.poll()) != POLL_OK:
            poller = select.poll()  # select.select takes no descriptor above 1023, and a server may have more
            poller.register(connection.fileno(), _EVENTS[state])
            while not poller.poll(_SLICE_MS):
                if time.monotonic() - began_s > self.timeout_s:
                    raise psycopg2.OperationalError(f"no answer within {self.timeout_s:g} s")


_SLICE_MS = 200
_PATIENCE = _Patience()


def limit_waits(timeout_s: float) -> None:
    """Limits every wait of this process for a Postgres server: to connect, and for each statement.

    What takes longer fails like a lost connection. Psycopg2 has one setting for the whole process: call this where the
    process belongs to one service. Called again, it holds for the waits under way too, so that a process that is to
    end does not wait in vain.

    Args:
        timeout_s: Exceeded by a fifth of a second at most.
    """
    _PATIENCE.timeout_s = timeout_s
    set_wait_callback(_PATIENCE.wait)
