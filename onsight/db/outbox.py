"""A durable local queue in front of the database: append-only files that survive a killed process.

Each process appends lines of JSON to one open segment, whose lock it holds. A segment is sealed (renamed) before it is
shipped and deleted after; the lock of a process that died is free, so that any other process seals its segment too.
A record is safe from a crash of the process once ``append`` returns; a segment that has to wait is synced to the disk.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from onsight.db.identifiers import uuid7
from onsight.db.records import Record, encode_record
from onsight.errors import StorageError

__all__ = ["Outbox", "claim", "read_segment"]

WhenFull = Literal["drop_oldest", "refuse"]

_LOG = logging.getLogger(__name__)


class Outbox:
    """The queue of one process, in a folder that several processes may share.

    Args:
        folder: Made if missing.
        max_bytes: Of this folder's unsent records.
        when_full: Beyond it, ``append`` deletes the oldest unsent segments and counts them, or refuses.

    Attributes:
        dropped: Records that were deleted unsent, so far.
    """

    def __init__(self, folder: Path, max_bytes: int, when_full: WhenFull = "refuse") -> None:
        self.folder = folder
        self.dropped = 0
        self._max_bytes = max_bytes
        self._when_full = when_full
        self._lock = threading.Lock()
        self._open_path: Path | None = None
        self._open_file = -1
        self._open_bytes = 0
        self._sealed_bytes = 0
        self._make_folder()

    def append(self, *records: Record) -> None:
        """Adds records, all of them or none; after this they outlive the process.

        Raises:
            StorageError: The disk or the size cap is full; nothing was added.
        """
        if not records:
            return
        lines = b"".join(encode_record(record) for record in records)
        try:
            with self._lock:
                self._make_room(len(lines))
                self._write(lines)
        except OSError as error:
            raise StorageError(
                f"the outbox {self.folder} cannot be written: {error.strerror}", "free some space on its disk"
            ) from error

    def seal(self) -> None:
        """Ends the open segment, if it holds anything, and those of processes that died."""
        with self._lock:
            self._seal_open()
        for path in self.folder.glob("*.open"):
            if path != self._open_path:
                _seal_abandoned(path)

    def sealed(self) -> list[Path]:
        """The segments that wait to be shipped, oldest first."""
        paths = sorted(self.folder.glob("*.sealed"))
        self._sealed_bytes = sum(_size(path) for path in paths)
        return paths

    @property
    def pending_bytes(self) -> int:
        """Size of the records not yet shipped, as of the last pass over the sealed ones."""
        return self._sealed_bytes + self._open_bytes

    def oldest_age_s(self) -> float:
        """Seconds since the oldest waiting segment was begun; 0 when none waits."""
        paths = sorted(self.folder.glob("*.sealed"))
        return max(0.0, time.time() - _begun_at(paths[0])) if paths else 0.0

    def reject(self, lines: Sequence[bytes]) -> None:
        """Keeps lines that the database will never take, for a person to look at."""
        folder = self.folder / "rejected"
        folder.mkdir(exist_ok=True)
        with (folder / f"{uuid7()}.jsonl").open("wb") as file:
            file.writelines(line if line.endswith(b"\n") else line + b"\n" for line in lines)

    def close(self) -> None:
        """Seals the open segment."""
        with self._lock:
            self._seal_open()

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the outbox {self.folder} cannot be made: {error.strerror}") from error

    def _make_room(self, more: int) -> None:
        if self.pending_bytes + more <= self._max_bytes:
            return
        if self._when_full == "drop_oldest":
            self._seal_open()
            for path in self.sealed():
                self._drop(path)
                if self.pending_bytes + more <= self._max_bytes:
                    return
        raise StorageError(
            f"the outbox {self.folder} holds {self.pending_bytes} unsent bytes, its cap is {self._max_bytes}",
            "bring the predictions database back, or raise ONSIGHT_OUTBOX_MAX_BYTES",
        )

    def _drop(self, path: Path) -> None:
        with claim(path) as is_ours:
            if is_ours:
                content = path.read_bytes()
                path.unlink()
                self._sealed_bytes -= len(content)
                self.dropped += content.count(b"\n")
                _LOG.error("the outbox is full: segment %s was dropped unsent", path.name)

    def _write(self, lines: bytes) -> None:
        if self._open_path is None:
            self._begin()
        written = 0
        try:
            written = os.write(self._open_file, lines)
        finally:
            if written != len(lines):  # a full disk: take the torn line back
                os.ftruncate(self._open_file, self._open_bytes)
        if written != len(lines):
            raise StorageError(f"the disk of the outbox {self.folder} is full", "free some space on it")
        self._open_bytes += written

    def _begin(self) -> None:
        # The lock is taken before the name is one that other processes look for.
        name = uuid7()
        hidden = self.folder / f"{name}.new"
        handle = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        hidden.rename(self.folder / f"{name}.open")
        self._open_path, self._open_file, self._open_bytes = self.folder / f"{name}.open", handle, 0

    def _seal_open(self) -> None:
        if self._open_path is None:
            return
        self._open_path.rename(self._open_path.with_suffix(".sealed"))
        os.close(self._open_file)
        self._sealed_bytes += self._open_bytes
        self._open_path, self._open_file, self._open_bytes = None, -1, 0


def read_segment(path: Path) -> list[bytes]:
    """The lines of a sealed segment; a torn last one, which was never acknowledged, is left out.

    Raises:
        OSError: The file is gone or cannot be read.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        _LOG.warning("outbox segment %s ends in a torn line of %d bytes", path.name, len(lines.pop()))
    return lines


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Whether this process alone may ship the segment; released at the end of the block."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have shipped and deleted it between the listing and the lock.
        yield path.exists()
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _seal_abandoned(path: Path) -> None:
    with claim(path) as is_free:
        if is_free:
            _LOG.warning("taking over outbox segment %s of a process that died", path.name)
            path.rename(path.with_suffix(".sealed"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _begun_at(path: Path) -> float:
    # The name is a version 7 UUID: its first 48 bits are milliseconds since 1970.
    return int(path.stem.replace("-", "")[:12], 16) / 1000
