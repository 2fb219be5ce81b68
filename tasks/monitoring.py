"""The drift monitor's stage: the served version's newest predictions against its reference."""

from __future__ import annotations

from pathlib import Path

from onsight.bundle import load_detector_directory, read_metadata
from onsight.db import newest_predictions, open_database
from onsight.domain import DriftVerdict
from onsight.drift import load_detector
from onsight.settings import Settings
from onsight.storage import ArtifactStore
from tasks.stage import stage

__all__ = ["watch_drift"]


@stage("drift test")
def watch_drift(store: ArtifactStore, metadata_file: str, window_size: int, settings: Settings) -> list[DriftVerdict]:
    """Test the newest predictions of the version that a metadata file names.

    Raises:
        StorageError: There is no such bundle.
        BundleError: Its detectors are damaged.
        DependencyError: The database does not answer.
    """
    metadata = read_metadata(store, Path(metadata_file).stem)
    database = open_database(settings.predictions_database_url)
    try:
        window = newest_predictions(database, metadata.model_name, metadata.version, window_size)
    finally:
        database.close()
    verdicts = []
    for features, rows in (("uae", window.uae_feats), ("bbsd", window.bbsd_feats)):
        folder = load_detector_directory(store, metadata.bundle_name, features, settings.state_dir / "bundles")
        detector = load_detector(folder)
        # An empty window has no columns to compare with.
        verdicts.append(detector.test(rows if len(window) else detector.reference[:0]))
    return verdicts
