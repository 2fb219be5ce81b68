"""Which storage, state and database a process works with, as one short digest that two processes can compare."""

from __future__ import annotations

import hashlib
from pathlib import Path

from onsight.settings import Settings

__all__ = ["place_of"]


def place_of(settings: Settings) -> str:
    """Sixteen hex digits, equal for settings that name the same storage, state folder and database.

    The digest can be shown to anyone: it gives no path and no password away.
    """
    storage = settings.central_storage_url
    if "://" not in storage:
        storage = str(Path(storage).resolve())
    parts = (storage, settings.s3_endpoint_url, str(settings.state_dir.resolve()), settings.predictions_database_url)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
