"""The thread that keeps a worker in step: follows the newest wish, judges the model it serves, reports both."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from onsight.db import Database, DesiredModel, WorkerReport, forget_worker, live_workers, report_worker, upgrade, uuid7
from onsight.errors import OnsightError
from services.dl_service.models import ModelControl

__all__ = ["Follower", "existing_workers", "is_converged"]

_LOG = logging.getLogger(__name__)
_INTERVAL_S = 0.25
_REPORT_EVERY_S = 2.0


class Follower:
    """One for each worker."""

    def __init__(self, models: ModelControl, database: Database) -> None:
        self.replica = socket.gethostname()[:64]
        self.worker_id = f"{self.replica}-{os.getpid()}-{uuid7()[-8:]}"
        self._models = models
        self._database = database
        self._stop = threading.Event()
        self._last = ("", -2, "")
        self._last_at_s = 0.0
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def announce(self) -> None:
        """Puts this worker on the list, if the database answers; it is asked again later."""
        try:
            upgrade(self._database)
            self.report()
        except OnsightError as error:
            _LOG.warning("this worker is not on the list yet: %s", error.message)

    def start(self) -> None:
        """Begins to follow in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stops, and takes this worker off the list."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            forget_worker(self._database, self.worker_id)
        except OnsightError as error:
            _LOG.info("this worker stays on the list until it is forgotten: %s", error.message)

    def step(self) -> None:
        """Follows, judges and reports once.

        Raises:
            DependencyError: The database does not answer.
        """
        self._models.follow()
        self._models.judge()
        self.report()

    def report(self) -> None:
        """Writes what this worker serves, if that is news or some time has passed.

        Raises:
            DependencyError: The database does not answer.
        """
        state = (self._models.name, self._models.seen_seq, self._models.problem)
        if state == self._last and time.monotonic() - self._last_at_s < _REPORT_EVERY_S:
            return
        report_worker(
            self._database, WorkerReport(self.worker_id, self.replica, os.getpid(), *state, datetime.now(UTC))
        )
        self._last, self._last_at_s = state, time.monotonic()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - the thread outlives whatever a driver comes up with
                if not self._is_failing:
                    _LOG.warning("this worker cannot follow the desired version for now: %s", error)
                self._is_failing = True
            else:
                self._is_failing = False


def existing_workers(database: Database, replica: str, also: Collection[str] = ()) -> list[WorkerReport]:
    """The workers that have reported lately, without those of this replica whose process has died since.

    Args:
        replica: This host.
        also: Ids of workers that count even if they have fallen silent: one that loads a large bundle reports nothing.

    Raises:
        DependencyError: The database does not answer.
    """
    workers = live_workers(database, also)
    return [worker for worker in workers if worker.replica != replica or Path("/proc", str(worker.pid)).exists()]


def is_converged(worker: WorkerReport, wish: DesiredModel) -> bool:
    """Whether a worker serves what was wished for."""
    return worker.seen_seq >= wish.seq and worker.bundle_name == wish.bundle_name
