"""The list of uploaded images that the archive's own clean-up passes over."""

from __future__ import annotations

from pathlib import Path

from onsight.db import Database, images_to_keep
from onsight.image_archive import write_kept
from onsight.retention.rows import champion_evidence

__all__ = ["keep_images"]


def keep_images(database: Database, folder: Path, *, apply: bool) -> int:
    """Name the images that people have labelled or are to review, and the evidence of alerts; how many there are.

    Args:
        folder: Of the image archive.
        apply: Write the list; otherwise only count.

    Raises:
        DependencyError: The database does not answer.
        StorageError: The folder cannot be written.
    """
    digests = images_to_keep(database, champion_evidence(database))
    if apply:
        write_kept(folder, digests)
    return len(digests)
