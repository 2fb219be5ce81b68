"""The thread that carries the outbox to the database: in batches, again after every failure, twice without harm."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onsight.db.engine import Database
from onsight.db.migrate import upgrade
from onsight.db.outbox import Outbox, claim, read_segment
from onsight.db.records import RefusedRecordError, insert_lines
from onsight.errors import OnsightError

__all__ = ["OutboxShipper", "ShipReport", "split_batches"]

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 5.0
# A busy machine takes Postgres' time from what is being answered: some 2 ms for so many lines, then a rest. All that
# two seconds bring, in one piece, made the slowest hundredth of eight clients' answers 2 ms slower.
_BATCH_LINES = 64
_REST_S = 0.02
# Larger batches of a large segment, so that rests never keep the outbox from being emptied as fast as it is filled.
_MOST_BATCHES = 32


@dataclass(frozen=True)
class ShipReport:
    """What one pass did.

    Attributes:
        rejected: Records that the database will never take; they are kept below ``rejected/``.
        failed: Whether the database did not take the rest.
    """

    shipped: int
    rejected: int
    failed: bool


class OutboxShipper:
    """Ships every sealed segment, then deletes it.

    Args:
        interval_s: Between passes while all goes well; after a failure the pause doubles up to five seconds.
        observer: Called after each pass.
    """

    def __init__(
        self,
        outbox: Outbox,
        database: Database,
        interval_s: float = 0.5,
        observer: Callable[[ShipReport], None] | None = None,
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._interval_s = interval_s
        self._observer = observer
        self._stop = threading.Event()
        self._is_schema_ready = False
        self._was_failing = False
        self._thread = threading.Thread(target=self._run, name="outbox-shipper", daemon=True)

    def start(self) -> None:
        """Begins to ship in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stops the thread, then tries once to ship what is left; what the database does not take stays on disk."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.ship()

    def ship(self) -> ShipReport:
        """One pass: seals what is open and ships all that is sealed. Never raises for a database that fails."""
        self._outbox.seal()
        shipped = rejected = 0
        failed = False
        try:
            for path in self._outbox.sealed():
                sent, refused = self._ship_segment(path)
                shipped, rejected = shipped + sent, rejected + refused
        except OnsightError as error:
            failed = True
            self._keep(error)
        else:
            self._note_recovery()
        self._outbox.sealed()  # measures what is left
        return ShipReport(shipped, rejected, failed)

    def _run(self) -> None:
        pause_s = self._interval_s
        while not self._stop.wait(pause_s):
            report = self._ship_and_tell()
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2) if report.failed else self._interval_s

    def _ship_and_tell(self) -> ShipReport:
        report = ShipReport(0, 0, failed=True)
        try:
            report = self.ship()
        except Exception:  # noqa: BLE001 - the thread outlives whatever a disk or a driver comes up with
            _LOG.exception("the outbox could not be shipped")
        try:
            if self._observer is not None:
                self._observer(report)
        except Exception:  # noqa: BLE001 - as above: metrics are files too, where there are several workers
            _LOG.exception("nobody could be told what became of the outbox")
        return report

    def _ship_segment(self, path: Path) -> tuple[int, int]:
        with claim(path) as is_ours:
            if not is_ours:
                return 0, 0
            lines = read_segment(path)
            self._prepare_schema()
            bad: list[bytes] = []
            for index, batch in enumerate(split_batches(lines)):
                if index:
                    self._stop.wait(_REST_S)
                bad += self._insert(batch)
            if bad:
                _LOG.error("%d records of outbox segment %s can never be stored; kept aside", len(bad), path.name)
                self._outbox.reject(bad)
            path.unlink(missing_ok=True)
            return len(lines) - len(bad), len(bad)

    def _insert(self, lines: Sequence[bytes]) -> list[bytes]:
        """Ships lines; those that the database will never take are given back."""
        try:
            insert_lines(self._database, lines)
        except RefusedRecordError:
            if len(lines) == 1:
                return [*lines]
            half = len(lines) // 2
            return self._insert(lines[:half]) + self._insert(lines[half:])
        return []

    def _prepare_schema(self) -> None:
        if not self._is_schema_ready:
            upgrade(self._database)
            self._is_schema_ready = True

    def _keep(self, error: OnsightError) -> None:
        if not self._was_failing:
            _LOG.warning("predictions are kept in the outbox until the database takes them: %s", error.message)
        self._was_failing = True
        for path in self._outbox.sealed():
            _sync(path)

    def _note_recovery(self) -> None:
        if self._was_failing:
            _LOG.info("the database takes predictions again")
        self._was_failing = False


def split_batches(lines: Sequence[bytes]) -> list[Sequence[bytes]]:
    """The lines of a segment in the pieces that are shipped one by one."""
    size = max(_BATCH_LINES, math.ceil(len(lines) / _MOST_BATCHES))
    return [lines[start : start + size] for start in range(0, len(lines), size)]


def _sync(path: Path) -> None:
    """Brings a segment that has to wait to the disk, so that it outlives a power cut too."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
