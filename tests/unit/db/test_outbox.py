"""The outbox: what is appended outlives the process, and is shipped once in the end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from onsight.db import (
    ApiCallRecord,
    ApiCallRow,
    Database,
    Outbox,
    OutboxShipper,
    PredictionRecord,
    PredictionRow,
    ShipReport,
    open_database,
    uuid7,
)
from onsight.db.outbox import read_segment
from onsight.db.records import Record, decode_record, encode_record
from onsight.db.shipper import split_batches
from onsight.errors import StorageError

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def prediction() -> PredictionRecord:
    return PredictionRecord(
        prediction_id=uuid7(),
        request_id="r-1",
        model_name="cells",
        model_version=3,
        created_at=AT,
        probabilities=[0.1, 0.9],
        top_class="dé\nfect",
        confidence=0.9,
        uae_feats=[1.5, -0.25],
        bbsd_feats=[0.1, 0.9],
        image_sha256="ab" * 32,
        image_bytes=10,
        image_width=4,
        image_height=5,
        image_format="PNG",
        client="::1",
        timings_ms={"decode": 1.25},
    )


def api_call() -> ApiCallRecord:
    return ApiCallRecord(uuid7(), "r-1", "/predict", "POST", 200, "ok", 3.5, "::1", AT)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox", 1_000_000)
    yield opened
    opened.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/predictions.db")
    yield opened
    opened.close()


def rows(database: Database) -> tuple[int, int]:
    with database.transaction() as connection:
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (PredictionRow, ApiCallRow)
        ]
    return counts[0], counts[1]


@pytest.mark.parametrize("record", [prediction(), api_call()], ids=["prediction", "api_call"])
def test_append_then_read_gives_the_same_record(outbox: Outbox, record: Record) -> None:
    outbox.append(record)
    outbox.seal()

    (line,) = read_segment(outbox.sealed()[0])

    assert decode_record(line) == record


def test_read_segment_leaves_a_torn_last_line_out(tmp_path: Path) -> None:
    whole = encode_record(api_call())
    path = tmp_path / "x.sealed"
    path.write_bytes(whole + b"no json\n" + whole[:-20])

    assert read_segment(path) == [whole, b"no json\n"]


def test_decode_record_of_a_line_from_before_the_image_properties_has_none() -> None:
    line = encode_record(prediction())
    older = b"".join(line.partition(b',"image_brightness"')[:1]) + b"}\n"

    record = decode_record(older)

    assert isinstance(record, PredictionRecord)
    assert (record.image_brightness, record.image_contrast, record.image_sharpness) == (None, None, None)


def test_append_beyond_the_cap_is_refused_and_what_is_there_stays(tmp_path: Path) -> None:
    one = len(encode_record(api_call()))
    outbox = Outbox(tmp_path / "outbox", 2 * one + 10)
    outbox.append(api_call(), api_call())

    with pytest.raises(StorageError, match="cap"):
        outbox.append(api_call())

    outbox.seal()
    assert len(read_segment(outbox.sealed()[0])) == 2
    assert outbox.pending_bytes == 2 * one


def test_append_on_a_full_disk_is_refused_and_leaves_no_torn_line(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.append(api_call())
    write = os.write
    monkeypatch.setattr("os.write", lambda handle, data: write(handle, data[: len(data) // 2]))
    with pytest.raises(StorageError, match="full"):
        outbox.append(api_call())
    monkeypatch.undo()

    outbox.append(api_call())

    outbox.seal()
    assert [type(decode_record(line)) for line in read_segment(outbox.sealed()[0])] == [ApiCallRecord] * 2


def test_outbox_in_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot be made"):
        Outbox(tmp_path / "file" / "outbox", 1000)


def test_ship_writes_every_record_once_and_empties_the_folder(outbox: Outbox, database: Database) -> None:
    shipper = OutboxShipper(outbox, database)
    outbox.append(prediction(), api_call())
    outbox.append(prediction())

    report = shipper.ship()

    assert report == ShipReport(shipped=3, rejected=0, failed=False)
    assert rows(database) == (2, 1)
    assert (outbox.sealed(), outbox.pending_bytes, outbox.oldest_age_s()) == ([], 0, 0.0)


def test_ship_of_a_segment_that_was_shipped_before_adds_nothing(
    outbox: Outbox, database: Database, tmp_path: Path
) -> None:
    shipper = OutboxShipper(outbox, database)
    outbox.append(prediction(), api_call())
    outbox.seal()
    copy = outbox.sealed()[0].read_bytes()
    shipper.ship()
    (outbox.folder / f"{uuid7()}.sealed").write_bytes(copy)

    shipper.ship()

    assert rows(database) == (1, 1)
    assert outbox.sealed() == []


def test_ship_when_the_database_is_down_keeps_everything(outbox: Outbox, database: Database) -> None:
    down = open_database("postgresql://someone@127.0.0.1:1/none")
    record = prediction()
    outbox.append(record)

    report = OutboxShipper(outbox, down).ship()
    kept = outbox.pending_bytes
    age = outbox.oldest_age_s()
    outbox.append(prediction())
    OutboxShipper(outbox, database).ship()

    assert report == ShipReport(shipped=0, rejected=0, failed=True)
    assert kept == len(encode_record(record))
    assert age >= 0
    assert rows(database) == (2, 0)
    down.close()


def test_ship_when_the_schema_is_gone_sets_nothing_aside(outbox: Outbox, database: Database) -> None:
    shipper = OutboxShipper(outbox, database)
    shipper.ship()
    outbox.append(prediction())
    shipper.ship()
    with database.transaction() as connection:
        connection.execute(text("ALTER TABLE predictions RENAME TO elsewhere"))
    outbox.append(prediction())

    report = shipper.ship()

    assert report.failed
    assert not (outbox.folder / "rejected").exists()
    assert len(outbox.sealed()) == 1


@pytest.mark.parametrize(("n_lines", "n_batches"), [(0, 0), (1, 1), (64, 1), (65, 2), (2_048, 32), (100_000, 32)])
def test_split_batches_keeps_every_line_in_a_bounded_number_of_batches(n_lines: int, n_batches: int) -> None:
    lines = [b"%d\n" % index for index in range(n_lines)]

    batches = split_batches(lines)

    assert len(batches) == n_batches
    assert [line for batch in batches for line in batch] == lines


def test_close_ships_what_is_left(outbox: Outbox, database: Database) -> None:
    reports: list[ShipReport] = []
    shipper = OutboxShipper(outbox, database, interval_s=0.01, observer=reports.append)
    shipper.start()
    outbox.append(prediction())

    shipper.close()

    assert rows(database) == (1, 0)


def test_shipper_outlives_an_observer_that_raises(
    outbox: Outbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    was_told = threading.Semaphore(0)

    def observe(_: ShipReport) -> None:
        was_told.release()
        raise OSError(errno.EMFILE, "Too many open files")

    shipper = OutboxShipper(outbox, database, interval_s=0.01, observer=observe)
    shipper.start()

    assert all(was_told.acquire(timeout=30) for _ in range(3))
    shipper.close()
    assert "nobody could be told" in caplog.text


def test_segment_of_a_killed_process_is_taken_over_and_that_of_a_living_one_is_not(
    outbox: Outbox, database: Database
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from onsight.db import Outbox; from onsight.db.records import decode_record\n"
        "outbox = Outbox(Path(sys.argv[1]), 10**6)\n"
        "for line in sys.stdin: outbox.append(decode_record(line)); print('kept', flush=True)"
    )
    command = [sys.executable, "-c", code, str(outbox.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(encode_record(prediction()).decode())
            process.stdin.flush()
            assert process.stdout.readline() == "kept\n"
        shipper = OutboxShipper(outbox, database)
        shipper.ship()
        before = rows_or_none(database)
        process.send_signal(signal.SIGKILL)

    shipper.ship()

    assert before is None
    assert rows(database) == (2, 0)


def rows_or_none(database: Database) -> tuple[int, int] | None:
    """None while nothing was ever shipped: the tables are made by the first shipment."""
    with database.transaction() as connection:
        made = connection.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'predictions'")).scalar_one()
    return rows(database) if made else None
