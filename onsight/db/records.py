"""What the service writes: predictions and API calls, in batches that may be sent twice without harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, text
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
    "insert_records",
    "plain_values",
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
_ROWS: dict[type[Record], type[Base]] = {PredictionRecord: PredictionRow, ApiCallRecord: ApiCallRow}


def insert_records(database: Database, records: Sequence[Record]) -> None:
    """Writes the records in one transaction; those already there stay as they are.

    Raises:
        DependencyError: The database does not answer; nothing was written.
        RefusedRecordError: It will never take one of them; nothing was written.
    """
    if not records:
        return
    try:
        with database.transaction() as connection:
            for kind, row in _ROWS.items():
                values = [plain_values(record) for record in records if isinstance(record, kind)]
                if values:
                    _insert(connection, row, values)
    except OnsightError as error:
        if isinstance(error.__cause__, DataError | IntegrityError):
            raise RefusedRecordError(error.message, error.hint, **error.context) from error
        raise
    except (ValueError, TypeError) as error:  # drivers refuse some values, such as NUL in a text, on their own
        raise RefusedRecordError(f"a record cannot be sent to the database: {error}") from error


def plain_values(record: Record) -> dict[str, Any]:
    """The record's values by column; the containers are shared with it."""
    return dict(vars(record))


def _insert(connection: Connection, row: type[Base], values: Sequence[dict[str, Any]]) -> None:
    if connection.dialect.name != "postgresql":
        connection.execute(sqlite.insert(row).on_conflict_do_nothing(), values)
        return
    # One JSON text that the server takes apart: a third of the driver's work with its arrays.
    columns = ", ".join(values[0])
    statement = (
        f"INSERT INTO {row.__tablename__} ({columns}) SELECT {columns} "  # noqa: S608 - names from our own tables
        f"FROM json_populate_recordset(NULL::{row.__tablename__}, CAST(:rows AS json)) ON CONFLICT DO NOTHING"
    )
    connection.execute(text(statement), {"rows": orjson.dumps(values).decode()})
