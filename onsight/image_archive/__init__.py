"""Uploaded images as they came, by the digest of their content, in a local folder: kept in the background."""

from onsight.image_archive.archive import ArchiveCounts, ArchivePolicy, ImageArchive
from onsight.image_archive.keeping import read_kept, write_kept
from onsight.image_archive.pruning import PruneReport

__all__ = ["ArchiveCounts", "ArchivePolicy", "ImageArchive", "PruneReport", "read_kept", "write_kept"]
