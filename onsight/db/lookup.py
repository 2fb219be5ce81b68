"""Finding one prediction: in the database, or among what the local outbox has not shipped yet."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from sqlalchemy import select

from onsight.db.engine import Database
from onsight.db.records import PredictionRecord, decode_record
from onsight.db.tables import PredictionRow

__all__ = ["find_prediction", "find_unshipped", "is_prediction_id"]

_PREDICTION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_SEGMENTS = 64
# A segment is begun by its first record, and so just after that record got its id.
_SLACK_MS = 5_000


def is_prediction_id(text: str) -> bool:
    """Whether it has the form of one: a UUID in lower-case hex digits with its hyphens."""
    return _PREDICTION_ID.fullmatch(text) is not None


def find_prediction(database: Database, prediction_id: str) -> PredictionRecord | None:
    """The prediction of this id, or None.

    Args:
        database: With its tables made.
        prediction_id: Of the form that ``is_prediction_id`` accepts.

    Raises:
        DependencyError: The database does not answer.
    """
    columns = [PredictionRow.__table__.c[field.name] for field in fields(PredictionRecord)]
    query = select(*columns).where(PredictionRow.prediction_id == prediction_id)
    with database.transaction() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else PredictionRecord(*row)


def find_unshipped(folder: Path, prediction_id: str) -> PredictionRecord | None:
    """The prediction of this id among the newest segments of an outbox, or None.

    A segment's name says when it was begun, so that those begun after the prediction are passed over. No more than 64
    are read: of a database that has been down for longer, only the newest predictions are found.

    Args:
        folder: The outbox's.
        prediction_id: A version 7 UUID.
    """
    latest_ms = _milliseconds(prediction_id) + _SLACK_MS
    names = {path.stem: path.name for pattern in ("*.open", "*.sealed") for path in folder.glob(pattern)}
    begun_before = sorted((stem for stem in names if _milliseconds(stem) <= latest_ms), reverse=True)
    for stem in begun_before[:_MAX_SEGMENTS]:
        record = _find_in(_read(folder / names[stem]), prediction_id)
        if record is not None:
            return record
    return None


def _milliseconds(uuid7: str) -> int:
    """Since 1970; the first 48 bits."""
    return int(uuid7.replace("-", "")[:12], 16)


def _read(segment: Path) -> bytes:
    # It may have been sealed since it was listed, or shipped.
    for path in (segment, segment.with_suffix(".sealed")):
        with suppress(OSError):
            return path.read_bytes()
    return b""


def _find_in(content: bytes, prediction_id: str) -> PredictionRecord | None:
    wanted = prediction_id.encode()
    if wanted not in content:
        return None
    for line in content.splitlines(keepends=True):
        if wanted in line and line.endswith(b"\n"):
            with suppress(ValueError, TypeError, KeyError):
                record = decode_record(line)
                if isinstance(record, PredictionRecord) and record.prediction_id == prediction_id:
                    return record
    return None
