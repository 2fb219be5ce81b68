"""Sending what earlier runs could not send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from onsight.errors import ConfigError
from onsight.settings import Settings
from onsight.tracking.connection import connect, journal_folder, unreachable
from onsight.tracking.delivery import Delivery
from onsight.tracking.journal import Journal, journalled_runs
from onsight.tracking.sender import Sender

__all__ = ["SyncedRun", "sync_journals"]

_DRAIN_S = 600.0
_STOP_S = 15.0


@dataclass(frozen=True)
class SyncedRun:
    """What became of one run's journal.

    Attributes:
        sent: Calls that the server received now.
        unsent: Calls that are still kept.
        problem: Why some are, or an empty string.
    """

    run_id: str
    sent: int
    unsent: int
    problem: str = ""


def sync_journals(settings: Settings) -> Iterator[SyncedRun]:
    """Send every run's kept calls, in order; a run that another process is writing is left to it.

    Raises:
        DependencyError: There is something to send, and no server to send it to.
    """
    folder = journal_folder(settings)
    runs = journalled_runs(folder)
    if not runs:
        return
    client = connect(settings)
    for run_id in runs:
        try:
            journal = Journal(folder, run_id)
        except ConfigError as error:
            yield SyncedRun(run_id, 0, 0, error.message)
            continue
        try:
            yield _sync(client, journal)
        finally:
            journal.close()


def _sync(client: MlflowClient, journal: Journal) -> SyncedRun:
    kept = len(journal)
    try:
        client.get_run(journal.run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return SyncedRun(journal.run_id, 0, kept, "this server knows no such run; check MLFLOW_TRACKING_URI")
        raise unreachable(client.tracking_uri, error) from error
    sender = Sender(journal, Delivery(client, journal.run_id, journal.files))
    is_sent = sender.drain(_DRAIN_S)
    sender.stop(_STOP_S)
    problem = "" if is_sent else "the server stopped answering"
    return SyncedRun(journal.run_id, kept - len(journal), len(journal), problem)
