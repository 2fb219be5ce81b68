"""The archive: a queue that never makes anyone wait, a thread that writes, and a look-up that verifies."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from onsight.image_archive.keeping import read_kept
from onsight.image_archive.pruning import TEMPORARY_SUFFIX, PruneReport, prune_folder

__all__ = ["ArchiveCounts", "ArchivePolicy", "ImageArchive"]

_LOG = logging.getLogger(__name__)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HASH_RANGE = 2**32
_DAY_S = 86_400.0
# A clean-up is due early, once this part of the cap was written.
_EARLY_SHARE = 1 / 16
# Images are gathered after others were written, so that the thread cuts in on those that answer once for many.
_GATHER_S = 0.1
# Of the queue, for which nothing more is gathered.
_GATHERED_SHARE = 1 / 8


@dataclass(frozen=True)
class ArchivePolicy:
    """What is kept, and for how long.

    Attributes:
        share: Of all images, 0 to 1, chosen by digest: the same image is always kept, or never.
        days: Since an image was last uploaded.
        max_bytes: Of all images; the oldest go first. Each process may exceed it by a sixteenth between two clean-ups.
        prune_interval_s: Between two clean-ups.
    """

    share: float = 1.0
    days: float = 30.0
    max_bytes: int = 10 * 1024**3
    prune_interval_s: float = 600.0

    def takes(self, sha256: str) -> bool:
        """Whether the image of this digest belongs to the share."""
        return int(sha256[:8], 16) < self.share * _HASH_RANGE


@dataclass(frozen=True)
class ArchiveCounts:
    """What became of the images that were to be kept.

    Attributes:
        stored: Written, or there already.
        dropped: Lost to a full queue.
        failed: Lost to a disk that fails.
        pending: Not written yet.
    """

    stored: int
    dropped: int
    failed: int
    pending: int


class ImageArchive:
    """The archive in a folder that several processes may share.

    Files are not synced to the disk one by one: what a power cut tears does not match its digest, and is then no image
    of the archive.

    Args:
        folder: Made with the first image.
        queue_bytes: Of images that wait to be written; beyond it they are dropped.

    Attributes:
        policy: Which images are kept, and for how long.
    """

    def __init__(self, folder: Path, policy: ArchivePolicy, queue_bytes: int = 64 * 1024**2) -> None:
        self._folder = folder
        self.policy = policy
        self._queue_bytes = queue_bytes
        self._changed = threading.Condition()
        self._pending: dict[str, bytes] = {}
        self._pending_bytes = 0
        self._stored = self._dropped = self._failed = 0
        self._is_failing = self._is_dropping = self._is_idle = self._is_closed = False
        self._prune_due_s = 0.0
        self._unpruned_bytes = 0
        self._thread = threading.Thread(target=self._run, name="image-archive", daemon=True)

    def start(self) -> None:
        """Begins to write in the background."""
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Writes what waits, for at most ``timeout_s``, and stops."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def keep(self, sha256: str, content: bytes) -> bool:
        """Hands an image over; never raises and never waits for the disk.

        Args:
            sha256: Of the content, 64 lower-case hex digits.
            content: The bytes as they were uploaded.

        Returns:
            Whether it waits to be written.
        """
        if not _DIGEST.fullmatch(sha256) or not self.policy.takes(sha256):
            return False
        with self._changed:
            if sha256 in self._pending:
                return True
            if self._is_closed or self._pending_bytes + len(content) > self._queue_bytes:
                self._drop()
                return False
            self._is_dropping = False
            self._pending[sha256] = content
            self._pending_bytes += len(content)
            if self._is_idle or self._has_gathered():
                self._changed.notify()
        return True

    def find(self, sha256: str) -> bytes | None:
        """The bytes of an image, its digest verified; None if the archive does not have it."""
        if not _DIGEST.fullmatch(sha256):
            return None
        with self._changed:
            waiting = self._pending.get(sha256)
        return waiting if waiting is not None else self._read(sha256)

    def holds(self, sha256: str) -> bool:
        """Whether the archive has an image of this digest, its content unread."""
        if not _DIGEST.fullmatch(sha256):
            return False
        with self._changed:
            is_waiting = sha256 in self._pending
        return is_waiting or self._path(sha256).is_file()

    def counts(self) -> ArchiveCounts:
        """What became of the images so far."""
        with self._changed:
            return ArchiveCounts(self._stored, self._dropped, self._failed, len(self._pending))

    def prune(self, max_removals: int = 10_000) -> PruneReport:
        """Removes images that are too old, then the oldest until the cap holds; the thread does so by itself.

        Those on the list of ``write_kept`` stay; nothing goes while that list cannot be read.
        """
        policy = self.policy
        try:
            kept = read_kept(self._folder)
        except (OSError, UnicodeDecodeError) as error:
            _LOG.error("images are not cleaned up: the list of those to keep cannot be read: %s", error)
            return PruneReport(0, 0, 0, 0)
        return prune_folder(self._folder, policy.days * _DAY_S, policy.max_bytes, max_removals, kept)

    def _drop(self) -> None:
        self._dropped += 1
        if not self._is_dropping:
            _LOG.warning("images are not archived: the queue of %d bytes is full", self._queue_bytes)
        self._is_dropping = True

    def _run(self) -> None:
        while not self._is_done():
            for sha256, content in self._gather():
                self._store(sha256, content)
            if time.monotonic() >= self._prune_due_s:
                report = self.prune()
                _LOG.debug("image archive cleaned up: %s", report)
                self._prune_due_s = time.monotonic() + self.policy.prune_interval_s
                self._unpruned_bytes = 0

    def _is_done(self) -> bool:
        with self._changed:
            return self._is_closed and not self._pending

    def _gather(self) -> list[tuple[str, bytes]]:
        """The images that wait, oldest first; none when a clean-up is due or the archive is being closed."""
        with self._changed:
            self._changed.wait_for(self._has_gathered, _GATHER_S)
            while not self._pending and not self._is_closed:
                left_s = self._prune_due_s - time.monotonic()
                if left_s <= 0:
                    return []
                self._is_idle = True
                self._changed.wait(left_s)
                self._is_idle = False
            return list(self._pending.items())

    def _has_gathered(self) -> bool:
        return self._is_closed or self._pending_bytes > self._queue_bytes * _GATHERED_SHARE

    def _store(self, sha256: str, content: bytes) -> None:
        try:
            self._write(sha256, content)
        except OSError as error:
            if not self._is_failing:
                _LOG.error("images are not archived: %s cannot be written: %s", self._folder, error.strerror)
            self._is_failing = True
        else:
            self._is_failing = False
        with self._changed:
            del self._pending[sha256]
            self._pending_bytes -= len(content)
            self._failed += self._is_failing
            self._stored += not self._is_failing
        self._unpruned_bytes += len(content)
        if self._unpruned_bytes > self.policy.max_bytes * _EARLY_SHARE:
            self._prune_due_s = 0.0

    def _write(self, sha256: str, content: bytes) -> None:
        target = self._path(sha256)
        with suppress(FileNotFoundError):
            os.utime(target)  # its days are counted from the last upload
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = target.with_name(f"{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(content)
            # Unlike a rename, a link never replaces what another process has put there meanwhile.
            with suppress(FileExistsError):
                os.link(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)

    def _read(self, sha256: str) -> bytes | None:
        path = self._path(sha256)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
            _LOG.error("the archived image %s is damaged; removed, so that the next upload can replace it", path)
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            _LOG.warning("the archived image %s cannot be read: %s", path, error.strerror)
        return None

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256
