"""Metrics that are functions of sums over images: one definition gives the value and every bootstrap resample.

Each image is a row of numbers; the rows' sum gives the metrics of the split, and the sum weighted by how often a
resample drew each image gives the metrics of that resample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onsight.evaluation.calibration import calibration_columns, calibration_error
from onsight.evaluation.scores import BoolArray, FloatArray, Scores

__all__ = ["ClassCounts", "count_columns", "count_metrics", "mean_over_classes", "split_counts"]

# The probabilities are float32: nothing smaller than this is told from zero.
_EPSILON = float(np.finfo(np.float32).eps)
_PLAIN = 5  # images, right, images with a top-k answer, right among the top k, log loss


@dataclass(frozen=True)
class ClassCounts:
    """By class, float64 [B, C]: right "there" answers, images that have it, images said to have it, images."""

    hits: FloatArray
    actual: FloatArray
    predicted: FloatArray
    images: FloatArray

    def recall(self) -> FloatArray:
        """Hits among the images that have the class; NaN where none has."""
        return _ratio(self.hits, self.actual)

    def precision(self) -> FloatArray:
        """Hits among the images said to have the class; 0 where it is never said but there are such images."""
        return np.where(self.predicted > 0, _ratio(self.hits, self.predicted), np.where(self.actual > 0, 0.0, np.nan))

    def f1(self) -> FloatArray:
        """The harmonic mean of precision and recall; NaN where the class neither is nor is said to be."""
        return _ratio(2 * self.hits, self.actual + self.predicted)

    def specificity(self) -> FloatArray:
        """Right "not there" answers among the images without the class; NaN where none is without."""
        without = self.images - self.actual
        return _ratio(without - (self.predicted - self.hits), without)


def count_columns(scores: Scores, top_k: int) -> FloatArray:
    """Each image's row of numbers, float64 [N, K]."""
    has_label = scores.labels.any(axis=1)
    plain = np.stack(
        [np.ones(len(scores)), scores.is_right, has_label, _is_in_top(scores, top_k) & has_label, _log_loss(scores)],
        axis=1,
    )
    hits = scores.labels & scores.predictions
    return np.concatenate([plain, hits, scores.labels, scores.predictions, calibration_columns(scores)], axis=1)


def split_counts(sums: FloatArray, n_classes: int) -> ClassCounts:
    """The counts by class in sums of rows of ``count_columns``, [B, K]."""
    hits, actual, predicted = np.split(sums[:, _PLAIN : _PLAIN + 3 * n_classes], 3, axis=1)
    return ClassCounts(hits, actual, predicted, sums[:, :1])


def count_metrics(sums: FloatArray, n_classes: int, *, is_multi_label: bool) -> dict[str, FloatArray]:
    """The metrics of B sums of rows.

    Args:
        sums: float64 [B, K], rows of ``count_columns`` summed.
        n_classes: C.
        is_multi_label: Of the split.

    Returns:
        float64 [B] by metric.
    """
    images, right, with_label, in_top, log_loss = sums[:, :_PLAIN].T
    counts = split_counts(sums, n_classes)
    balance = (counts.recall() + counts.specificity()) / 2 if is_multi_label else counts.recall()
    return {
        "accuracy": right / images,
        "balanced_accuracy": mean_over_classes(balance),
        "top_k_accuracy": _ratio(in_top, with_label),
        "macro_f1": mean_over_classes(counts.f1()),
        "log_loss": log_loss / images,
        "ece": calibration_error(sums[:, _PLAIN + 3 * n_classes :]),
    }


def mean_over_classes(values: FloatArray) -> FloatArray:
    """The mean of each row over the classes that have a value, NaN where none has."""
    is_known = ~np.isnan(values)
    return _ratio(np.where(is_known, values, 0.0).sum(axis=1), is_known.sum(axis=1).astype(np.float64))


def _is_in_top(scores: Scores, top_k: int) -> BoolArray:
    """Whether a class that the image has is among the ``top_k`` most probable; of equals, the first counts first."""
    top = np.argsort(-scores.probabilities, axis=1, kind="stable")[:, :top_k]
    found: BoolArray = np.take_along_axis(scores.labels, top, axis=1).any(axis=1)
    return found


def _log_loss(scores: Scores) -> FloatArray:
    """Minus the logarithm of the probability given to the truth; for multi-label, the mean over the classes."""
    probabilities = np.clip(scores.probabilities, _EPSILON, 1 - _EPSILON)
    loss: FloatArray
    if scores.is_multi_label:
        loss = -np.where(scores.labels, np.log(probabilities), np.log1p(-probabilities)).mean(axis=1)
    else:
        loss = -np.log(probabilities[scores.labels])
    return loss


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """NaN where the denominator is 0."""
    ratio: FloatArray = numerator / np.where(denominator > 0, denominator, np.nan)
    return ratio
