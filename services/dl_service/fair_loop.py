"""An event loop for one of several workers, which leaves a new connection to the worker that has the fewest.

The kernel hands connections to whichever worker asks first. Of 32 clients that keep theirs, 20 and 12 are usual, and
each of the 20 waits for a quarter longer than it had to.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import mmap
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from typing import ClassVar, Final

import uvloop

__all__ = ["ConnectionCounts", "FairLoop"]

_ProtocolFactory = Callable[[], asyncio.BaseProtocol]

_LOG = logging.getLogger(__name__)
_NONE = -1
_CELL: Final = "q"
# How long a connection is left to a worker that has fewer, and how often this one looks again.
_PATIENCE_S = 0.02
_STEP_S = 0.001
# As asyncio does, when there are no more file descriptors.
_PAUSE_S = 1.0


class ConnectionCounts:
    """The open connections of each worker, in memory that processes forked from this one share.

    A worker holds its place by a lock on one byte of a file, which the kernel takes back from one that is killed. One
    that did not take what was left to it is stuck or dead: nothing more is left to it until it has looked again.
    """

    def __init__(self, workers: int) -> None:
        # While workers are replaced one by one there is one more.
        self._places = 2 * workers
        self._file = os.memfd_create("connection-counts")
        os.ftruncate(self._file, 2 * self._places * struct.calcsize(_CELL))
        cells = memoryview(mmap.mmap(self._file, 0)).cast(_CELL)
        self._counts, self._looks = cells[: self._places], cells[self._places :]
        for place in range(self._places):
            self._counts[place] = _NONE
        self._place: int | None = None
        self._looks_of_stuck: dict[int, int] = {}

    def join(self) -> None:
        """Take a place for this process; without a free one it takes connections as they come."""
        self._place = next((place for place in range(self._places) if self._lock(place)), None)
        if self._place is not None:
            self._counts[self._place] = 0

    def leave(self) -> None:
        """Tell the others that this process takes no more."""
        if self._place is not None:
            self._counts[self._place] = _NONE

    def add(self, change: int) -> None:
        """Count connections of this process."""
        if self._place is not None and self._counts[self._place] != _NONE:
            self._counts[self._place] += change

    def look(self) -> None:
        """Show that this process looks after its listening socket."""
        if self._place is not None:
            self._looks[self._place] += 1

    def has_more_than_another(self) -> bool:
        """Whether another worker that is not stuck has fewer connections than this one."""
        return any(self._looks_of_stuck.get(place) != self._looks[place] for place in self._with_fewer())

    def give_up_waiting(self) -> None:
        """Leave nothing more to those that have fewer, until they look again."""
        self._looks_of_stuck = {place: self._looks[place] for place in self._with_fewer()}

    def _with_fewer(self) -> list[int]:
        if self._place is None:
            return []
        own = self._counts[self._place]
        return [place for place, count in enumerate(self._counts) if _NONE < count < own]

    def _lock(self, place: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True


class _FairServer:
    """Takes connections of a listening socket, in turn with other processes."""

    def __init__(
        self,
        loop: FairLoop,
        counts: ConnectionCounts,
        listener: socket.socket,
        make_protocol: _ProtocolFactory,
    ) -> None:
        self._loop = loop
        self._counts = counts
        self._listener = listener
        self._make_protocol = make_protocol
        self._left_until_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()
        listener.settimeout(0)
        counts.join()
        self._listen()

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        self._counts.leave()
        self._loop.remove_reader(self._listener)
        if self._timer is not None:
            self._timer.cancel()

    async def wait_closed(self) -> None:
        """Nothing is left to wait for: whoever closes a server waits for its connections."""

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._take)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, self._listen_again)

    def _listen_again(self) -> None:
        if not select.select([self._listener], [], [], 0)[0]:
            self._left_until_s = None  # another worker took it
        self._listen()

    def _is_left_to_another(self) -> bool:
        if not self._counts.has_more_than_another():
            return False
        now_s = self._loop.time()
        if self._left_until_s is None:
            self._left_until_s = now_s + _PATIENCE_S
        if now_s < self._left_until_s:
            return True
        self._counts.give_up_waiting()
        return False

    def _take(self) -> None:
        self._counts.look()
        if self._is_left_to_another():
            self._rest(_STEP_S)
            return
        self._left_until_s = None
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the client has gone
        except OSError:
            _LOG.exception("no connection can be taken")
            self._rest(_PAUSE_S)
            return
        connection.settimeout(0)
        counted = ExitStack()
        self._counts.add(1)
        counted.callback(self._counts.add, -1)
        opening = self._loop.create_task(self._open(connection, counted))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, counted: ExitStack) -> None:
        def make_protocol() -> asyncio.BaseProtocol:
            protocol = self._make_protocol()
            lost = protocol.connection_lost

            def connection_lost(error: Exception | None) -> None:
                counted.close()
                del protocol.connection_lost  # each would keep the other alive
                lost(error)

            protocol.connection_lost = connection_lost  # type: ignore[method-assign, assignment]
            return protocol

        try:
            await self._loop.connect_accepted_socket(make_protocol, connection)
        except OSError:
            _LOG.warning("a connection ended before it began", exc_info=True)
            counted.close()
            connection.close()


class FairLoop(uvloop.Loop):
    """uvloop, but for how a server takes connections.

    Attributes:
        counts: To be set before the workers are forked.
    """

    counts: ClassVar[ConnectionCounts]

    async def create_server(  # type: ignore[override]
        self, protocol_factory: _ProtocolFactory, *, sock: socket.socket, ssl: None = None, backlog: int = 0
    ) -> _FairServer:
        """As asyncio's, for the only thing that uvicorn asks for here: a socket that listens, without TLS."""
        del ssl, backlog
        return _FairServer(self, self.counts, sock, protocol_factory)
