"""Cleaning up an archive's folder: what is too old goes, then the oldest until the rest fits."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TEMPORARY_SUFFIX", "PruneReport", "prune_folder"]

TEMPORARY_SUFFIX = ".new"
_STALE_S = 3_600.0


@dataclass(frozen=True)
class PruneReport:
    """What a clean-up removed, and what it left."""

    removed_files: int
    removed_bytes: int
    left_files: int
    left_bytes: int


def prune_folder(
    folder: Path, max_age_s: float, max_bytes: int, max_removals: int, kept: Collection[str] = ()
) -> PruneReport:
    """Removes files from the folders of an archive; several processes may do so at once.

    Args:
        folder: Of the archive; it need not exist.
        max_age_s: Since a file was last written or touched.
        max_bytes: Of all files together.
        max_removals: In this call, which bounds its memory too; the next call goes on.
        kept: Names of files that stay, whatever their age; they count as part of ``max_bytes``.
    """
    now_s = time.time()
    survey = _Survey(kept)
    oldest = heapq.nsmallest(max_removals, survey.watch(_files(folder, now_s)))
    files, size = survey.files, survey.size
    for changed_at, path, bytes_ in oldest:
        if changed_at >= now_s - max_age_s and size <= max_bytes:
            break
        _remove(path)
        files, size = files - 1, size - bytes_
    return PruneReport(survey.files - files, survey.size - size, files, size)


@dataclass
class _Survey:
    """Counts the files that pass by, and lets those through that may go."""

    kept: Collection[str]
    files: int = 0
    size: int = 0

    def watch(self, entries: Iterator[tuple[float, str, int]]) -> Iterator[tuple[float, str, int]]:
        for entry in entries:
            self.files, self.size = self.files + 1, self.size + entry[2]
            if Path(entry[1]).name not in self.kept:
                yield entry


def _files(folder: Path, now_s: float) -> Iterator[tuple[float, str, int]]:
    """Time of change, path and size of each file; leftovers of processes that were killed are removed on the way."""
    for shard in _scan(folder):
        for entry in _scan(shard) if shard.is_dir(follow_symlinks=False) else ():
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # another process was faster
                continue
            if not entry.name.endswith(TEMPORARY_SUFFIX):
                yield status.st_mtime, entry.path, status.st_size
            elif status.st_mtime < now_s - _STALE_S:
                _remove(entry.path)


def _scan(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _remove(path: str) -> None:
    with suppress(OSError):
        Path(path).unlink()
