"""A run's journal: every call as one JSON line on disk, and how many of the lines the server has received.

``<folder>/<run_id>.jsonl`` holds the lines, ``.sent`` the number received, ``.rejected.jsonl`` what the server
refused for good, and the folder ``<run_id>/`` copies of the files that are still to be sent.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onsight.errors import ConfigError

__all__ = ["Journal", "Record", "RecordKind", "journalled_runs", "now_ms"]

_LOG = logging.getLogger(__name__)

RecordKind = Literal["params", "metrics", "tags", "artifact", "dataset", "model", "end"]


@dataclass(frozen=True)
class Record:
    """One call.

    Attributes:
        at_ms: When it was made, in milliseconds since 1970, UTC.
        body: JSON values, by kind.
    """

    kind: RecordKind
    at_ms: int
    body: Mapping[str, Any]


@dataclass(frozen=True)
class _Pending:
    record: Record
    is_on_disk: bool


class Journal:
    """The calls of one run that the server has not received, oldest first. One process at a time may open it.

    Args:
        folder: Of all journals.
        run_id: The run's identifier.

    Raises:
        ConfigError: Another process has it open.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.run_id = run_id
        self.files = folder / run_id
        self._path = folder / f"{run_id}.jsonl"
        self._sent_path = folder / f"{run_id}.sent"
        self._rejected_path = folder / f"{run_id}.rejected.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = self._path.open("a+b")
        self._claim()
        self._sent, self._pending = self._recover()
        self._size = self._file.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        """How many calls are still to be sent."""
        return len(self._pending)

    def append(self, record: Record) -> None:
        """Keep a call; it is on disk when this returns. Where the disk refuses, it is kept in memory."""
        line = json.dumps({"kind": record.kind, "at_ms": record.at_ms, "body": record.body}).encode() + b"\n"
        with self._lock:
            try:
                self._write_line(line)
            except OSError as error:
                _LOG.warning("%s cannot be written (%s): a call is kept in memory alone", self._path, error.strerror)
                self._pending.append(_Pending(record, is_on_disk=False))
            else:
                self._pending.append(_Pending(record, is_on_disk=True))

    def pending(self, limit: int) -> list[Record]:
        """The oldest calls that are still to be sent: one, or up to ``limit`` metrics in a row."""
        with self._lock:
            first: list[Record] = []
            for record in (entry.record for entry in self._pending):
                if first and (record.kind != "metrics" or first[0].kind != "metrics" or len(first) == limit):
                    break
                first.append(record)
            return first

    def acknowledge(self, count: int) -> None:
        """Note that the oldest ``count`` calls are received (or set aside)."""
        with self._lock:
            done = [self._pending.popleft() for _ in range(count)]
            self._sent += sum(entry.is_on_disk for entry in done)
            self._write_sent()
        for entry in done:
            if "file" in entry.record.body:
                shutil.rmtree(self.files / entry.record.body["file"], ignore_errors=True)

    def set_aside(self, record: Record, reason: str) -> None:
        """Keep a call that the server refuses for good where it stops no other."""
        entry = {"kind": record.kind, "at_ms": record.at_ms, "body": record.body, "reason": reason}
        _LOG.warning("the tracking server refused %s of run %s: %s", record.kind, self.run_id, reason)
        try:
            with self._rejected_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            _LOG.warning("%s cannot be written: %s", self._rejected_path, error.strerror)

    def new_folder(self) -> Path:
        """A fresh folder for copies of files; name it in the call's body under ``file``, relative to ``files``."""
        folder = self.files / uuid.uuid4().hex
        folder.mkdir(parents=True)
        return folder

    def close(self) -> None:
        """Let go of the journal; when everything was sent, nothing of it stays on disk."""
        if self._file.closed:
            return
        if not self._pending:
            self._path.unlink(missing_ok=True)
            self._sent_path.unlink(missing_ok=True)
            shutil.rmtree(self.files, ignore_errors=True)
        self._file.close()

    def _claim(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigError(
                f"run {self.run_id} is being written by another process",
                hint="wait until it ends, or stop it",
                run_id=self.run_id,
            ) from error

    def _write_line(self, line: bytes) -> None:
        try:
            os.write(self._file.fileno(), line)
            os.fsync(self._file.fileno())
        except OSError:
            # A full disk takes half a line: the next one must not be written behind it.
            self._file.truncate(self._size)
            raise
        self._size += len(line)

    def _recover(self) -> tuple[int, deque[_Pending]]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        # A process killed in the middle of a write leaves half a line behind.
        self._file.truncate(len(whole))
        try:
            sent = int(self._sent_path.read_text())
        except (OSError, ValueError):
            sent = 0
        return sent, deque(_Pending(_parse(line), is_on_disk=True) for line in whole.splitlines()[sent:])

    def _write_sent(self) -> None:
        # Losing this file is harmless: the server drops what it is sent twice.
        fresh = self._sent_path.with_suffix(".sent-new")
        try:
            fresh.write_text(str(self._sent))
            fresh.replace(self._sent_path)
        except OSError as error:
            _LOG.warning("%s cannot be written: %s", self._sent_path, error.strerror)


def journalled_runs(folder: Path) -> list[str]:
    """The runs that have a journal, sorted."""
    return sorted(
        path.name.removesuffix(".jsonl") for path in folder.glob("*.jsonl") if not path.name.endswith(".rejected.jsonl")
    )


def now_ms() -> int:
    """The time, in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def _parse(line: bytes) -> Record:
    fields = json.loads(line)
    return Record(fields["kind"], fields["at_ms"], fields["body"])
