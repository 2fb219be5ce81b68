"""Windows of logged features, as the drift monitor reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from onsight.db.engine import Database
from onsight.db.tables import PredictionRow

__all__ = ["GOLDEN_REQUEST_PREFIX", "PredictionWindow", "newest_predictions"]

# A deployment's golden images are answered and logged like any other, but they are no traffic.
GOLDEN_REQUEST_PREFIX = "golden-"


@dataclass(frozen=True)
class PredictionWindow:
    """The newest predictions of one version, newest first; row i of each array is the same prediction.

    Attributes:
        prediction_ids: W of them.
        created_at: W times, UTC.
        uae_feats: float64 [W, D].
        bbsd_feats: float64 [W, C].
        probabilities: float64 [W, C].
    """

    prediction_ids: tuple[str, ...]
    created_at: tuple[datetime, ...]
    uae_feats: NDArray[np.float64]
    bbsd_feats: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.prediction_ids)


def newest_predictions(database: Database, model_name: str, model_version: int, limit: int) -> PredictionWindow:
    """Reads at most ``limit`` predictions of one version, newest first, without those of golden images.

    Raises:
        DependencyError: The database does not answer.
    """
    row = PredictionRow
    query = (
        select(row.prediction_id, row.created_at, row.uae_feats, row.bbsd_feats, row.probabilities)
        .where(row.model_name == model_name, row.model_version == model_version)
        .where(row.request_id.not_like(f"{GOLDEN_REQUEST_PREFIX}%"))
        .order_by(row.created_at.desc(), row.prediction_id.desc())
        .limit(limit)
    )
    with database.transaction() as connection:
        found = connection.execute(query).all()
    return PredictionWindow(
        prediction_ids=tuple(str(entry.prediction_id) for entry in found),
        created_at=tuple(entry.created_at for entry in found),
        uae_feats=_matrix([entry.uae_feats for entry in found]),
        bbsd_feats=_matrix([entry.bbsd_feats for entry in found]),
        probabilities=_matrix([entry.probabilities for entry in found]),
    )


def _matrix(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), -1 if rows else 0)
