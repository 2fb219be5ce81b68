"""The thread that sends a journal's calls, in order, and tries again when the server is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from onsight.tracking.journal import Journal, Record
from onsight.tracking.messages import first_line

__all__ = ["Refused", "Sender"]

_LOG = logging.getLogger(__name__)

_BATCH = 200
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class Refused(Exception):  # noqa: N818 - an answer of the server, told from the errors of a server that is away
    """The server answered, and will never take this call."""


class Sender:
    """Sends in a thread of its own.

    Args:
        journal: What is to be sent.
        deliver: Sends some calls; raises ``Refused``, or anything else when they may go through later.
    """

    def __init__(self, journal: Journal, deliver: Callable[[Sequence[Record]], None]) -> None:
        self._journal = journal
        self._deliver = deliver
        self._changed = threading.Condition()
        self._stopping = False
        self._hurry = False
        self._attempts = 0
        self._failed_attempt = 0
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name=f"tracking-{journal.run_id[:8]}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new to send."""
        with self._changed:
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything is sent, or an attempt made from now on fails, or the time is over.

        Returns:
            Whether everything is sent.
        """
        with self._changed:
            attempts = self._attempts
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: not len(self._journal) or self._failed_attempt > attempts or not self._thread.is_alive(),
                timeout_s,
            )
            self._hurry = False
            return not len(self._journal)

    def stop(self, timeout_s: float) -> None:
        """End the thread after the call that it is sending."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._wait_for_work():
            if self._send_some():
                pause_s = _FIRST_PAUSE_S
            else:
                self._pause(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._journal))
            return not self._stopping

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._hurry, seconds)

    def _send_some(self) -> bool:
        with self._changed:
            self._attempts += 1
        records = self._journal.pending(_BATCH)
        try:
            try:
                self._deliver(records)
            except Refused as error:
                if len(records) == 1:
                    self._journal.set_aside(records[0], str(error))
                else:
                    self._send_singly(records)
                    return True
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on and the call stays in the journal
            self._note_failure(error)
            return False
        self._note_success(len(records))
        return True

    def _send_singly(self, records: Sequence[Record]) -> None:
        """Find the one of a batch that the server refuses."""
        for record in records:
            try:
                self._deliver([record])
            except Refused as error:
                self._journal.set_aside(record, str(error))
            self._note_success(1)

    def _note_success(self, count: int) -> None:
        self._journal.acknowledge(count)
        with self._changed:
            if self._is_away:
                _LOG.warning("the tracking server answers again; sending what was kept")
            self._is_away = False
            self._changed.notify_all()

    def _note_failure(self, error: Exception) -> None:
        with self._changed:
            if not self._is_away:
                _LOG.warning(
                    "the tracking server does not answer; the run goes on, its calls are kept (%s)", first_line(error)
                )
            self._is_away = True
            self._failed_attempt = self._attempts
            self._changed.notify_all()
