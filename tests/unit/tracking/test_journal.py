"""The journal and its sender, without a server."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from onsight.errors import ConfigError
from onsight.tracking.journal import Journal, Record, journalled_runs
from onsight.tracking.messages import first_line, without_password
from onsight.tracking.sender import Refused, Sender


def metric(step: int) -> Record:
    return Record("metrics", 1000 + step, {"values": {"loss": float(step)}, "step": step})


def tag(value: str) -> Record:
    return Record("tags", 5, {"values": {"tag": value}})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path, "run")
    yield journal
    journal.close()


def kept(journal: Journal, folder: Path) -> list[Record]:
    """What a later process finds."""
    journal.close()
    with closing(Journal(folder, "run")) as again:
        return again.pending(10)


def test_what_was_kept_is_there_after_a_restart_without_what_was_sent(journal: Journal, tmp_path: Path) -> None:
    for step in range(5):
        journal.append(metric(step))
    journal.acknowledge(2)
    assert kept(journal, tmp_path) == [metric(2), metric(3), metric(4)]
    again = Journal(tmp_path, "run")
    again.append(metric(5))
    again.acknowledge(3)
    assert kept(again, tmp_path) == [metric(5)]


def test_metrics_in_a_row_go_together_and_other_calls_alone(journal: Journal) -> None:
    for record in (metric(0), metric(1), tag("a"), tag("b"), metric(2)):
        journal.append(record)
    batches = []
    while len(journal):
        batches.append(journal.pending(10))
        journal.acknowledge(len(batches[-1]))
    assert batches == [[metric(0), metric(1)], [tag("a")], [tag("b")], [metric(2)]]


def test_half_a_line_left_by_a_kill_is_dropped(journal: Journal, tmp_path: Path) -> None:
    journal.append(metric(0))
    journal.close()
    with (tmp_path / "run.jsonl").open("ab") as file:
        file.write(b'{"kind": "metr')
    again = Journal(tmp_path, "run")
    again.append(metric(1))
    assert kept(again, tmp_path) == [metric(0), metric(1)]


def test_a_full_disk_costs_durability_alone(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal.append(metric(0))
    write = os.write

    def write_half(descriptor: int, content: bytes) -> int:
        write(descriptor, content[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "write", write_half)
        journal.append(metric(1))
    journal.append(metric(2))
    assert "No space left" in caplog.text
    assert journal.pending(10) == [metric(0), metric(1), metric(2)]
    journal.acknowledge(2)
    assert kept(journal, tmp_path) == [metric(2)]


def test_two_processes_do_not_write_one_run(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="written by another process"):
        Journal(tmp_path, "run")


def test_nothing_stays_on_disk_when_everything_was_sent(journal: Journal, tmp_path: Path) -> None:
    copy = journal.new_folder()
    journal.append(Record("artifact", 1, {"file": copy.name}))
    assert journalled_runs(tmp_path) == ["run"]
    journal.acknowledge(1)
    assert not copy.exists()
    journal.close()
    assert not list(tmp_path.iterdir())


def test_calls_are_sent_in_order_and_again_after_an_outage(journal: Journal) -> None:
    sent: list[Record] = []
    is_away = threading.Event()
    is_away.set()

    def deliver(records: Sequence[Record]) -> None:
        if is_away.is_set():
            raise ConnectionError("away")
        sent.extend(records)

    sender = Sender(journal, deliver)
    for record in (metric(0), tag("a"), metric(1)):
        journal.append(record)
    sender.wake()
    assert not sender.drain(10)
    assert len(journal) == 3
    is_away.clear()
    assert sender.drain(10)
    assert sent == [metric(0), tag("a"), metric(1)]
    sender.stop(10)


def test_an_attempt_that_began_earlier_decides_no_drain(journal: Journal) -> None:
    began, fail = threading.Event(), threading.Event()

    def deliver(_: Sequence[Record]) -> None:
        if not fail.is_set():
            began.set()
            fail.wait()
            raise ConnectionError("away")

    journal.append(metric(0))
    sender = Sender(journal, deliver)
    assert began.wait(10)
    threading.Timer(0.2, fail.set).start()
    assert sender.drain(10)
    sender.stop(10)


def test_one_refused_metric_of_a_batch_is_set_aside_alone(journal: Journal, tmp_path: Path) -> None:
    sent: list[Record] = []

    def deliver(records: Sequence[Record]) -> None:
        if metric(1) in records:
            raise Refused("no such name")
        sent.extend(records)

    for step in range(3):
        journal.append(metric(step))
    sender = Sender(journal, deliver)
    assert sender.drain(10)
    sender.stop(10)
    assert sent == [metric(0), metric(2)]
    (line,) = (tmp_path / "run.rejected.jsonl").read_text().splitlines()
    assert '"reason": "no such name"' in line
    assert journalled_runs(tmp_path) == ["run"]


def test_a_sender_that_is_stuck_holds_nobody_up(journal: Journal) -> None:
    release = threading.Event()
    journal.append(metric(0))
    sender = Sender(journal, lambda _: _wait(release))
    assert not sender.drain(0.05)
    release.set()
    assert sender.drain(10)
    sender.stop(10)


def _wait(event: threading.Event) -> None:
    event.wait()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://me:***@host:5000/x"),
        ("postgresql://me:s:x@host/db", "postgresql://me:***@host/db"),
        ("http://host:5000/x@y", "http://host:5000/x@y"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert without_password(text) == shown
    assert first_line(ValueError(f"{text}\nmore")) == shown


def test_an_error_without_a_text_has_its_name() -> None:
    show: Callable[[Exception], str] = first_line
    assert show(TimeoutError()) == "TimeoutError"
