"""Areas under the ROC and precision-recall curves, for many weightings of the same images at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onsight.evaluation.scores import BoolArray, FloatArray

__all__ = ["average_precision", "roc_auc"]


def roc_auc(is_positive: BoolArray, score: FloatArray, weights: FloatArray) -> FloatArray:
    """The chance that a positive scores above a negative, ties counting half.

    Args:
        is_positive: bool [N].
        score: float64 [N].
        weights: float64 [B, N], how often each image counts.

    Returns:
        float64 [B]; NaN where there is no positive or no negative.
    """
    order, starts = _tied_groups(score)
    positives, negatives = _group_weights(is_positive[order], weights[:, order], starts)
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=1)
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), np.nan)


def average_precision(is_positive: BoolArray, score: FloatArray, weights: FloatArray) -> FloatArray:
    """The area under the precision-recall curve as a sum of steps (average precision, not interpolated).

    Args:
        is_positive: bool [N].
        score: float64 [N].
        weights: float64 [B, N], how often each image counts.

    Returns:
        float64 [B]; NaN where there is no positive.
    """
    order, starts = _tied_groups(-score)
    positives, negatives = _group_weights(is_positive[order], weights[:, order], starts)
    hits = np.cumsum(positives, axis=1)
    taken = hits + np.cumsum(negatives, axis=1)
    precision = hits / np.where(taken > 0, taken, 1.0)
    total = hits[:, -1]
    return np.where(total > 0, (precision * positives).sum(axis=1) / np.where(total > 0, total, 1.0), np.nan)


def _tied_groups(score: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The ascending order, and where in it each group of equal scores starts."""
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return order, starts


def _group_weights(
    is_positive: BoolArray, weights: FloatArray, starts: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    positives = np.add.reduceat(weights * is_positive, starts, axis=1)
    return positives, np.add.reduceat(weights, starts, axis=1) - positives
