"""The review queue's stage: predictions of the served version that a person should look at."""

from __future__ import annotations

from pathlib import Path

from onsight.bundle import read_metadata
from onsight.config import ReviewConfig
from onsight.db import open_database, upgrade
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.review import QueueReport, fill_review_queue
from onsight.settings import Settings
from onsight.storage import ArtifactStore
from tasks.stage import stage

__all__ = ["choose_for_review"]


@stage("review queue")
def choose_for_review(
    store: ArtifactStore, metadata_file: str, config: ReviewConfig, settings: Settings
) -> QueueReport:
    """Add to the review queue what it lacks, from the newest predictions of the version that a metadata file names.

    Raises:
        StorageError: There is no such bundle.
        DependencyError: The database does not answer.
    """
    metadata = read_metadata(store, Path(metadata_file).stem)
    archive = ImageArchive(settings.image_archive_dir, ArchivePolicy())
    database = open_database(settings.predictions_database_url)
    try:
        upgrade(database)
        return fill_review_queue(database, archive, metadata, config)
    finally:
        database.close()
