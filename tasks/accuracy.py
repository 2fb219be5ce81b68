"""The accuracy stage: how right every version was on its own traffic, as far as labels have arrived."""

from __future__ import annotations

from onsight.db import open_database, upgrade
from onsight.feedback import describe_week, measure_accuracy
from onsight.settings import Settings
from onsight.storage import ArtifactStore
from tasks.stage import stage

__all__ = ["watch_accuracy"]

# Labels that come later than this change no row any more.
_WEEKS = 8


@stage("accuracy")
def watch_accuracy(store: ArtifactStore, settings: Settings) -> list[str]:
    """Measure every version that answered of late, write it for the dashboards, and say it in a sentence each.

    Raises:
        DependencyError: The database does not answer.
        StorageError: Central storage does not answer.
    """
    database = open_database(settings.predictions_database_url)
    try:
        upgrade(database)
        measured = measure_accuracy(database, store, _WEEKS)
    finally:
        database.close()
    return [describe_week(name, records) for name, records in measured.items()]
