"""Windows of logged predictions, as the drift monitor reads them: by time and by count, in bounded memory."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from onsight.db.engine import Database
from onsight.db.tables import PredictionRow

__all__ = ["GOLDEN_REQUEST_PREFIX", "PROPERTY_NAMES", "PredictionWindow", "WindowQuery", "is_traffic", "read_window"]

# A deployment's golden images are answered and logged like any other, but they are no traffic.
GOLDEN_REQUEST_PREFIX = "golden-"
PROPERTY_NAMES = ("brightness", "contrast", "sharpness", "width", "height")
_BATCH_ROWS = 2_000


@dataclass(frozen=True)
class WindowQuery:
    """Which predictions are meant.

    Attributes:
        since: The oldest moment that belongs to the window, UTC; None: no limit.
        max_rows: The newest so many predictions are the window.
        kept_rows: So many of them are read; which ones, only their ids decide.
    """

    model_name: str
    model_version: int
    max_rows: int
    kept_rows: int
    since: datetime | None = None


@dataclass(frozen=True)
class PredictionWindow:
    """Predictions of one version, newest first; row i of each array is the same prediction.

    Attributes:
        n_rows: Predictions in the window; more than W when it was thinned.
        prediction_ids: W of them.
        created_at: W times, UTC.
        uae_feats: float64 [W, D].
        bbsd_feats: float64 [W, C].
        probabilities: float64 [W, C].
        properties: float64 [W] each, by ``PROPERTY_NAMES``; NaN where a row of an older release has none.
        formats: W of them, Pillow's names.
        clients: W of them.
        image_digests: W of them, SHA-256 of the uploaded bytes.
    """

    n_rows: int
    prediction_ids: tuple[str, ...]
    created_at: tuple[datetime, ...]
    uae_feats: NDArray[np.float64]
    bbsd_feats: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    properties: dict[str, NDArray[np.float64]]
    formats: tuple[str, ...]
    clients: tuple[str, ...]
    image_digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prediction_ids)


def is_traffic() -> ColumnElement[bool]:
    """Of a prediction, whether its image is no golden one. Not LIKE: SQLite's knows no upper and lower case."""
    return func.substr(PredictionRow.request_id, 1, len(GOLDEN_REQUEST_PREFIX)) != GOLDEN_REQUEST_PREFIX


def read_window(database: Database, query: WindowQuery) -> PredictionWindow:
    """Reads a window, without the predictions of golden images.

    First ids alone are read, in batches: those kept are the ``kept_rows`` with the smallest hashes, so that the same
    window always gives the same rows and memory does not grow with the window. Then their rows are read, in batches.

    Raises:
        DependencyError: The database does not answer.
    """
    with database.transaction() as connection:
        n_rows, kept = _choose_ids(connection, query)
        batches = [
            _window(connection.execute(_rows_query(kept[start : start + _BATCH_ROWS])).all())
            for start in range(0, max(1, len(kept)), _BATCH_ROWS)
        ]
    return _newest_first(batches, n_rows)


def _choose_ids(connection: Connection, query: WindowQuery) -> tuple[int, list[str]]:
    """How many predictions the window has, and the ids to keep."""
    counted = 0

    def hashed() -> Iterator[tuple[bytes, str]]:
        nonlocal counted
        for (prediction_id,) in connection.execute(_ids_query(query)):
            counted += 1
            yield hashlib.blake2b(prediction_id.encode(), digest_size=8).digest(), prediction_id

    kept = [prediction_id for _, prediction_id in heapq.nsmallest(query.kept_rows, hashed())]
    return counted, kept


def _ids_query(query: WindowQuery) -> Select[tuple[str]]:
    row = PredictionRow
    found = (
        select(row.prediction_id)
        .where(row.model_name == query.model_name, row.model_version == query.model_version)
        .where(is_traffic())
        .order_by(row.created_at.desc(), row.prediction_id.desc())
        .limit(query.max_rows)
        # A cursor on the server: the driver would fetch a million ids at once.
        .execution_options(yield_per=_BATCH_ROWS)
    )
    return found if query.since is None else found.where(row.created_at >= query.since)


def _rows_query(prediction_ids: Sequence[str]) -> Select[Any]:
    row = PredictionRow
    return select(
        row.prediction_id, row.created_at, row.uae_feats, row.bbsd_feats, row.probabilities, row.image_brightness,
        row.image_contrast, row.image_sharpness, row.image_width, row.image_height, row.image_format, row.client,
        row.image_sha256,
    ).where(row.prediction_id.in_(prediction_ids))  # fmt: skip


def _window(rows: Sequence[Row[Any]]) -> PredictionWindow:
    return PredictionWindow(
        n_rows=len(rows),
        prediction_ids=tuple(str(row.prediction_id) for row in rows),
        created_at=tuple(row.created_at for row in rows),
        uae_feats=_matrix([row.uae_feats for row in rows]),
        bbsd_feats=_matrix([row.bbsd_feats for row in rows]),
        probabilities=_matrix([row.probabilities for row in rows]),
        # What a row of an older release lacks is None, which becomes NaN.
        properties={
            name: np.array([getattr(row, f"image_{name}") for row in rows], dtype=np.float64) for name in PROPERTY_NAMES
        },
        formats=tuple(row.image_format for row in rows),
        clients=tuple(row.client for row in rows),
        image_digests=tuple(row.image_sha256 for row in rows),
    )


def _newest_first(batches: Sequence[PredictionWindow], n_rows: int) -> PredictionWindow:
    ids = [one for batch in batches for one in batch.prediction_ids]
    times = [one for batch in batches for one in batch.created_at]
    order = sorted(range(len(ids)), key=lambda row: (times[row], ids[row]), reverse=True)

    def joined(name: str) -> NDArray[np.float64]:
        matrices: list[NDArray[np.float64]] = [getattr(batch, name) for batch in batches]
        return np.concatenate(matrices)[order]

    def ordered(name: str) -> tuple[Any, ...]:
        values = [one for batch in batches for one in getattr(batch, name)]
        return tuple(values[row] for row in order)

    return PredictionWindow(
        n_rows=n_rows,
        prediction_ids=ordered("prediction_ids"),
        created_at=ordered("created_at"),
        uae_feats=joined("uae_feats"),
        bbsd_feats=joined("bbsd_feats"),
        probabilities=joined("probabilities"),
        properties={
            name: np.concatenate([batch.properties[name] for batch in batches])[order] for name in PROPERTY_NAMES
        },
        formats=ordered("formats"),
        clients=ordered("clients"),
        image_digests=ordered("image_digests"),
    )


def _matrix(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), -1 if rows else 0)
