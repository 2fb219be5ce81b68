"""Areas under the ROC and precision-recall curves, for many weightings of the same images at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onsight.evaluation.scores import BoolArray, FloatArray

__all__ = ["Areas", "ranking_areas"]


class Areas(NamedTuple):
    """Areas of one class under B weightings.

    Attributes:
        roc_auc: float64 [B], the chance that a positive scores above a negative, ties counting half; NaN where there
            is no positive or no negative.
        pr_auc: float64 [B], average precision (a sum of steps, not interpolated); NaN where there is no positive.
    """

    roc_auc: FloatArray
    pr_auc: FloatArray


def ranking_areas(is_positive: BoolArray, score: FloatArray, weights: NDArray[np.floating[Any]]) -> Areas:
    """The areas of one class against the rest.

    Only the positives are looked at one by one; of the negatives, running sums are enough.

    Args:
        is_positive: bool [N].
        score: float64 [N].
        weights: float [N, B], how often each image counts; whole numbers.
    """
    order, begins, ends = _tied_groups(score)
    positive = np.flatnonzero(is_positive[order])
    begins, ends = begins[positive], ends[positive]
    ordered = weights[order]
    # How much weight lies before each place in the order, of all images and of the positives.
    before = _running_sum(ordered)
    own = ordered[positive].astype(np.float64)
    own_before = _running_sum(own)
    taken = before[ends].astype(np.float64)
    hits = own_before[np.searchsorted(positive, ends)]
    misses_above = before[begins] - own_before[np.searchsorted(positive, begins)]
    n_positive = own.sum(axis=0)
    n_negative = before[-1] - n_positive
    misses_below = n_negative - (taken - hits)
    wins = (own * (misses_below + (n_negative - misses_below - misses_above) / 2)).sum(axis=0)
    precision = (own * hits / np.maximum(taken, 1)).sum(axis=0)
    return Areas(_ratio(wins, n_positive * n_negative), _ratio(precision, n_positive))


def _tied_groups(score: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The descending order, and for each place in it where its group of equal scores begins and ends."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    group = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return order, starts[group], starts[group + 1]


def _running_sum(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """[N + 1, B]: row i is the sum of the first i rows."""
    sums = np.zeros((len(values) + 1, values.shape[1]), values.dtype)
    np.cumsum(values, axis=0, out=sums[1:])
    return sums


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    ratio: FloatArray = numerator / np.where(denominator > 0, denominator, np.nan)
    return ratio
