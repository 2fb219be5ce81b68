"""What is shipped to real Postgres and to SQLite, and what is set aside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from onsight.db import Database, Outbox, OutboxShipper, PredictionRecord, PredictionRow, ShipReport, open_database
from onsight.db.records import encode_record
from tests.integration.db.test_database import prediction

WHOLE = encode_record(prediction())
NO_CLASS = encode_record(replace(prediction(), top_class=None))  # type: ignore[arg-type]
TEXT_FOR_A_NUMBER = replace(prediction(), image_bytes="many")  # type: ignore[arg-type]
BAD = {
    "a value is missing": NO_CLASS,
    "no JSON": b"no json\n",
    "empty": b"\n",
    "no kind that is known": b'{"kind":"unheard"}\n',
    "nothing but the kind": b'{"kind":"prediction"}\n',
    "broken off": WHOLE[:100] + b"\n",
    "no text": WHOLE[:100] + b"\xff" + WHOLE[100:],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_line_when_it_can_never_be_stored_then_is_set_aside_alone(
    bad: bytes, database: Database, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "outbox", 1_000_000)
    outbox.append(*[prediction(n) for n in range(5)])
    outbox.seal()
    with outbox.sealed()[0].open("ab") as file:
        file.write(bad + encode_record(prediction(5)))

    report = OutboxShipper(outbox, database).ship()

    assert report == ShipReport(shipped=6, rejected=1, failed=False)
    assert next((outbox.folder / "rejected").iterdir()).read_bytes() == bad
    with database.transaction() as connection:
        assert connection.execute(select(func.count()).select_from(PredictionRow)).scalar_one() == 6


def test_lines_when_several_of_a_segment_can_never_be_stored_then_each_is_set_aside(
    database: Database, tmp_path: Path
) -> None:
    outbox = Outbox(tmp_path / "outbox", 1_000_000)
    outbox.append(*[prediction(n) for n in range(5)])
    outbox.seal()
    with outbox.sealed()[0].open("ab") as file:
        file.writelines(bad + encode_record(prediction()) for bad in BAD.values())

    report = OutboxShipper(outbox, database).ship()

    assert report == ShipReport(shipped=5 + len(BAD), rejected=len(BAD), failed=False)
    aside = next((outbox.folder / "rejected").iterdir()).read_bytes().splitlines(keepends=True)
    assert sorted(aside) == sorted(BAD.values())


@pytest.mark.parametrize("record", [replace(prediction(), client="a\0b"), TEXT_FOR_A_NUMBER], ids=["NUL", "text"])
def test_line_when_postgres_alone_cannot_store_it_then_is_set_aside(
    record: PredictionRecord, postgres_url: str, tmp_path: Path
) -> None:
    outbox, database = Outbox(tmp_path / "outbox", 1_000_000), open_database(postgres_url)
    outbox.append(record, prediction())

    report = OutboxShipper(outbox, database).ship()

    database.close()
    assert report == ShipReport(shipped=1, rejected=1, failed=False)
