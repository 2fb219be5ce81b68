"""Fills the review queue: reads what there is to choose from, chooses, and records the choice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from onsight.config import ReviewConfig
from onsight.db import (
    Database,
    ReviewItem,
    UnjudgedPrediction,
    add_review_items,
    count_open_review_items,
    most_drifted,
    opinions_in_conflict,
    reviewed_features,
    unjudged_predictions,
)
from onsight.domain import BundleMetadata
from onsight.image_archive import ImageArchive
from onsight.review.selection import Candidate, Choice, Reason, SelectionRules, choose, dispute_scores, uncertainty

__all__ = ["QueueReport", "fill_review_queue"]

_MULTI_LABEL = "multi-label"
# Earlier items whose likes are not chosen again.
_REMEMBERED = 5_000


@dataclass(frozen=True)
class QueueReport:
    """What a run added to the queue.

    Attributes:
        n_looked_at: Predictions that could have been chosen.
        n_added: By reason.
        n_open: Items of the model that wait for a person now.
    """

    n_looked_at: int
    n_added: dict[Reason, int]
    n_open: int


def fill_review_queue(
    database: Database, archive: ImageArchive, metadata: BundleMetadata, config: ReviewConfig
) -> QueueReport:
    """Choose as many predictions of one version as the queue lacks, and add them.

    Args:
        database: With its tables made.
        archive: Where the images must be, so that a person can see them.
        metadata: Of the version.
        config: Budget, shares, window, distance.

    Raises:
        DependencyError: The database does not answer; nothing was added.
    """
    name, version = metadata.model_name, metadata.version
    n_open = count_open_review_items(database, name)
    drifted = most_drifted(database, name, version)
    disputed = dispute_scores(opinions_in_conflict(database, name, version, config.window_size))
    rows = unjudged_predictions(database, name, version, config.window_size, drifted=drifted, disputed=disputed)
    candidates = _candidates(rows, drifted, disputed, is_multi_label=metadata.classifier_type == _MULTI_LABEL)
    taken = reviewed_features(database, name, version, _REMEMBERED)
    shares: dict[Reason, float] = {
        "disputed": config.shares.disputed,
        "drifted": config.shares.drifted,
        "uncertain": config.shares.uncertain,
    }
    rules = SelectionRules(max(0, config.budget - n_open), shares, config.min_distance)
    centres = np.array(taken, np.float64).reshape(len(taken), metadata.uae_dims)
    choices = choose(candidates, centres, rules, archive.holds)
    n_new = add_review_items(database, _items(choices, metadata))
    added: dict[Reason, int] = {}
    for choice in choices:
        added[choice.reason] = added.get(choice.reason, 0) + 1
    return QueueReport(len(candidates), added, n_open + n_new)


def _candidates(
    rows: list[UnjudgedPrediction], drifted: dict[str, float], disputed: dict[str, float], *, is_multi_label: bool
) -> list[Candidate]:
    if not rows:
        return []
    undecided = uncertainty(np.stack([row.probabilities for row in rows]), is_multi_label=is_multi_label)
    candidates = []
    for row, score in zip(rows, undecided.tolist(), strict=True):
        scores: dict[Reason, float] = {}
        if row.prediction_id in disputed:
            scores["disputed"] = disputed[row.prediction_id]
        else:
            scores["uncertain"] = score
        if row.prediction_id in drifted:
            scores["drifted"] = drifted[row.prediction_id]
        candidates.append(Candidate(row.prediction_id, row.image_sha256, row.uae_feats, scores))
    return candidates


def _items(choices: list[Choice], metadata: BundleMetadata) -> list[ReviewItem]:
    now = datetime.now(UTC)
    return [
        ReviewItem(choice.prediction_id, metadata.model_name, metadata.version, choice.reason, choice.score, now)
        for choice in choices
    ]
