"""Central storage: one protocol, a local folder and S3 behind it."""

from onsight.storage.store import ArtifactStore, open_store

__all__ = ["ArtifactStore", "open_store"]
