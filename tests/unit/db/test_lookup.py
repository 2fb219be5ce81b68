"""Finding predictions that the database does not have yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onsight.db import Outbox, find_unshipped, is_prediction_id, uuid7
from onsight.db.records import encode_record
from tests.unit.db.test_outbox import api_call, prediction


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox", 10**6)
    yield opened
    opened.close()


def test_find_unshipped_in_open_and_sealed_segments(outbox: Outbox) -> None:
    records = [prediction() for _ in range(6)]
    for number, record in enumerate(records):
        outbox.append(record, api_call())
        if number in (1, 3):
            outbox.seal()

    assert [find_unshipped(outbox.folder, record.prediction_id) for record in records] == records
    assert find_unshipped(outbox.folder, uuid7()) is None


def test_find_unshipped_passes_over_lines_that_are_no_record_of_it(outbox: Outbox) -> None:
    record, other = prediction(), prediction()
    outbox.append(replace(other, request_id=record.prediction_id))
    assert find_unshipped(outbox.folder, record.prediction_id) is None

    line = encode_record(record)
    segment = outbox.folder / f"{uuid7()}.sealed"
    segment.write_bytes(b"{" + record.prediction_id.encode() + b"\n" + line[:-1])
    assert find_unshipped(outbox.folder, record.prediction_id) is None

    segment.write_bytes(line)
    assert find_unshipped(outbox.folder, record.prediction_id) == record


def test_find_unshipped_reads_no_segment_begun_after_the_prediction(outbox: Outbox) -> None:
    record = prediction()
    later = f"{int(record.prediction_id[:8], 16) + 1:08x}{record.prediction_id[8:]}"
    (outbox.folder / f"{later}.sealed").write_bytes(encode_record(record))

    assert find_unshipped(outbox.folder, record.prediction_id) is None


def test_find_unshipped_without_a_folder_is_none(tmp_path: Path) -> None:
    assert find_unshipped(tmp_path / "none", uuid7()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("019a8f2e-6c1b-7a40-8d2f-3b9e6f1c2d47", True),
        ("019A8F2E-6C1B-7A40-8D2F-3B9E6F1C2D47", False),
        ("019a8f2e6c1b7a408d2f3b9e6f1c2d47", False),
        ("019a8f2e-6c1b-7a40-8d2f-3b9e6f1c2d47\n", False),
        ("../../etc/passwd", False),
        ("", False),
    ],
)
def test_is_prediction_id(text: str, expected: bool) -> None:
    assert is_prediction_id(text) is expected
