"""What the review queue chooses from: recent predictions that nobody has judged, and what speaks for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, func, select

from onsight.db.engine import Database
from onsight.db.monitoring_tables import DriftResultRow, FeedbackRow, ReviewItemRow
from onsight.db.tables import PredictionRow
from onsight.db.windows import is_traffic

__all__ = ["UnjudgedPrediction", "most_drifted", "opinions_in_conflict", "reviewed_features", "unjudged_predictions"]

_ROW, _ITEM, _SAID = PredictionRow, ReviewItemRow, FeedbackRow
_COMBINED = "combined"


@dataclass(frozen=True)
class UnjudgedPrediction:
    """One prediction that is no review item.

    Attributes:
        probabilities: float64 [C].
        uae_feats: float64 [D].
    """

    prediction_id: str
    image_sha256: str
    probabilities: NDArray[np.float64]
    uae_feats: NDArray[np.float64]


def unjudged_predictions(
    database: Database,
    model_name: str,
    model_version: int,
    limit: int,
    *,
    drifted: Collection[str] = (),
    disputed: Collection[str] = (),
) -> list[UnjudgedPrediction]:
    """Predictions of a version, without golden images, whose image was never chosen for review.

    Args:
        limit: So many of the newest without anybody's opinion.
        drifted: Further predictions without anybody's opinion, by id.
        disputed: Further predictions, by id, whatever opinions there are of them.

    Returns:
        The further ones first, then the newest first; none twice, and no image twice.

    Raises:
        DependencyError: The database does not answer.
    """
    eligible = _eligible(model_name, model_version)
    is_unjudged = ~select(_SAID.feedback_id).where(_SAID.prediction_id == _ROW.prediction_id).exists()
    newest = eligible.where(is_unjudged).order_by(_ROW.created_at.desc(), _ROW.prediction_id.desc()).limit(limit)
    is_named = _ROW.prediction_id.in_(list(disputed)) | (_ROW.prediction_id.in_(list(drifted)) & is_unjudged)
    named = eligible.where(is_named).order_by(_ROW.prediction_id)
    by_image: dict[str, UnjudgedPrediction] = {}
    with database.transaction() as connection:
        for query in (named, newest) if drifted or disputed else (newest,):
            for row in connection.execute(query):
                arrays = (np.asarray(values, np.float64) for values in (row.probabilities, row.uae_feats))
                found = UnjudgedPrediction(row.prediction_id, row.image_sha256, *arrays)
                by_image.setdefault(found.image_sha256, found)
    return list(by_image.values())


def reviewed_features(database: Database, model_name: str, model_version: int, limit: int) -> list[NDArray[np.float64]]:
    """Features of a version's newest review items, open or decided: at most ``limit`` times float64 [D].

    Raises:
        DependencyError: The database does not answer.
    """
    query = (
        select(_ROW.uae_feats)
        .join(_ITEM, _ITEM.prediction_id == _ROW.prediction_id)
        .where(_is_of(model_name, model_version))
        .order_by(_ITEM.chosen_at.desc(), _ITEM.prediction_id)
        .limit(limit)
    )
    with database.transaction() as connection:
        return [np.asarray(features, np.float64) for features in connection.execute(query).scalars()]


def most_drifted(database: Database, model_name: str, model_version: int) -> dict[str, float]:
    """The predictions that the newest run of the drift monitor found farthest from the reference, with their scores.

    Raises:
        DependencyError: The database does not answer.
    """
    row = DriftResultRow
    query = (
        select(row.details)
        .where(row.model_name == model_name, row.model_version == model_version, row.test == _COMBINED)
        .order_by(row.tested_at.desc(), row.seq.desc())
        .limit(1)
    )
    with database.transaction() as connection:
        details = connection.execute(query).scalar_one_or_none() or {}
    return {str(prediction_id): float(score) for prediction_id, score in details.get("most_drifted", ())}


def opinions_in_conflict(
    database: Database, model_name: str, model_version: int, limit: int
) -> list[tuple[str, str, Sequence[str]]]:
    """Prediction, person and labels of every opinion about the predictions that more than one person has judged.

    Args:
        limit: Predictions; those judged last.

    Returns:
        Oldest opinion first.

    Raises:
        DependencyError: The database does not answer.
    """
    judged = (
        select(_SAID.prediction_id)
        .join(_ROW, _ROW.prediction_id == _SAID.prediction_id)
        .where(_is_of(model_name, model_version))
        .group_by(_SAID.prediction_id)
        .having(func.count(_SAID.labelled_by.distinct()) > 1)
        .order_by(func.max(_SAID.labelled_at).desc())
        .limit(limit)
    )
    query = (
        select(_SAID.prediction_id, _SAID.labelled_by, _SAID.labels)
        .where(_SAID.prediction_id.in_(judged))
        .order_by(_SAID.labelled_at, _SAID.feedback_id)
    )
    with database.transaction() as connection:
        return [(row.prediction_id, row.labelled_by, row.labels) for row in connection.execute(query)]


def _is_of(model_name: str, model_version: int) -> ColumnElement[bool]:
    return (_ROW.model_name == model_name) & (_ROW.model_version == model_version)


def _eligible(model_name: str, model_version: int) -> Select[Any]:
    """Traffic whose image is in no review item, whichever version answered then."""
    chosen = select(_ROW.image_sha256).join(_ITEM, _ITEM.prediction_id == _ROW.prediction_id)
    return select(_ROW.prediction_id, _ROW.image_sha256, _ROW.probabilities, _ROW.uae_feats).where(
        _is_of(model_name, model_version),
        is_traffic(),
        _ROW.image_sha256.not_in(chosen),
    )
