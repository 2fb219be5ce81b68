"""What the service writes: predictions and API calls, in batches that may be sent twice without harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DataError, IntegrityError

from onsight.db.engine import Database
from onsight.db.tables import ApiCallRow, Base, PredictionRow
from onsight.errors import OnsightError

__all__ = [
    "ApiCallRecord",
    "PredictionRecord",
    "Record",
    "RefusedRecordError",
    "decode_record",
    "encode_record",
    "insert_lines",
    "insert_records",
]


class RefusedRecordError(OnsightError):
    """The database works and will never take one of these records."""


@dataclass(frozen=True)
class PredictionRecord:
    """One row of ``predictions``.

    Attributes:
        prediction_id: Version 7 UUID; a second row with the same one is ignored.
        created_at: UTC.
        probabilities: By class, in the bundle's order.
        image_sha256: Of the bytes as they were uploaded.
        timings_ms: Milliseconds by stage.
        image_brightness: As ``onsight.images.ImageProperties`` says, of the picture at the network's input size; None
            in a row of an older release.
        image_contrast: Of the same picture.
        image_sharpness: Of the same picture.
    """

    prediction_id: str
    request_id: str
    model_name: str
    model_version: int
    created_at: datetime
    probabilities: Sequence[float]
    top_class: str
    confidence: float
    uae_feats: Sequence[float]
    bbsd_feats: Sequence[float]
    image_sha256: str
    image_bytes: int
    image_width: int
    image_height: int
    image_format: str
    client: str
    timings_ms: Mapping[str, float]
    image_brightness: float | None = None
    image_contrast: float | None = None
    image_sharpness: float | None = None


@dataclass(frozen=True)
class ApiCallRecord:
    """One row of ``api_log``.

    Attributes:
        call_id: Version 7 UUID; a second row with the same one is ignored.
        route: The route's pattern, such as ``/predict``, not the path that was asked for.
        code: ``ok``, or the stable code of the problem that was answered.
        at: When the call came in, UTC.
    """

    call_id: str
    request_id: str
    route: str
    method: str
    status: int
    code: str
    latency_ms: float
    client: str
    at: datetime


Record = PredictionRecord | ApiCallRecord
_KINDS: dict[str, type[Record]] = {"prediction": PredictionRecord, "api_call": ApiCallRecord}
_KIND_NAMES = {kind: name for name, kind in _KINDS.items()}
_ROWS: dict[str, type[Base]] = {"prediction": PredictionRow, "api_call": ApiCallRow}
# How the line of such a record begins.
_BEGINNINGS = {name: b'{"kind":"%s",' % name.encode() for name in _KINDS}
_TIMES = ("created_at", "at")


def encode_record(record: Record) -> bytes:
    """One line of JSON, with its line feed."""
    values = {"kind": _KIND_NAMES[type(record)], **vars(record)}
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def decode_record(line: bytes) -> Record:
    """The record of one line.

    Raises:
        ValueError: The line is no JSON.
        KeyError: It is JSON, of no known kind.
        TypeError: It is no record of its kind.
    """
    values = orjson.loads(line)
    kind = _KINDS[values.pop("kind")]
    for name in _TIMES:
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    return kind(**values)


def insert_records(database: Database, records: Sequence[Record]) -> None:
    """Writes the records in one transaction; those already there stay as they are.

    Raises:
        DependencyError: The database does not answer; nothing was written.
        RefusedRecordError: It will never take one of them; nothing was written.
    """
    insert_lines(database, [encode_record(record) for record in records])


def insert_lines(database: Database, lines: Sequence[bytes]) -> None:
    """As ``insert_records``, of what ``encode_record`` gave: Postgres reads the lines themselves.

    Raises:
        DependencyError: The database does not answer; nothing was written.
        RefusedRecordError: It will never take one of them, or one is no record; nothing was written.
    """
    lines_by_kind = {
        kind: [line for line in lines if line.startswith(beginning)] for kind, beginning in _BEGINNINGS.items()
    }
    if sum(map(len, lines_by_kind.values())) < len(lines):
        raise RefusedRecordError("a line is no record of a known kind")
    try:
        with database.transaction() as connection:
            for kind, its_lines in lines_by_kind.items():
                if its_lines:
                    _insert(connection, kind, its_lines)
    except OnsightError as error:
        if isinstance(error.__cause__, DataError | IntegrityError):
            raise RefusedRecordError(error.message, error.hint, **error.context) from error
        raise
    # A line may be no text, no JSON or no record; drivers refuse some values, such as NUL in a text, on their own.
    except (ValueError, TypeError, KeyError) as error:
        raise RefusedRecordError(f"a record cannot be sent to the database: {error}") from error


def _insert(connection: Connection, kind: str, lines: Sequence[bytes]) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(_STATEMENTS[kind], {"rows": f"[{b','.join(lines).decode()}]"})
        return
    values = [vars(decode_record(line)) for line in lines]
    connection.execute(sqlite.insert(_ROWS[kind]).on_conflict_do_nothing(), values)


def _statement(row: type[Base]) -> TextClause:
    """One JSON text that the server takes apart: a third of the driver's work with its arrays."""
    table, columns = row.__tablename__, ", ".join(column.name for column in row.__table__.columns)
    return text(
        f"INSERT INTO {table} ({columns}) SELECT {columns} "  # noqa: S608 - names from our own tables
        f"FROM json_populate_recordset(NULL::{table}, CAST(:rows AS json)) ON CONFLICT DO NOTHING"
    )


_STATEMENTS = {kind: _statement(row) for kind, row in _ROWS.items()}
