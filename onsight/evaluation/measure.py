"""Measuring a network on a scored split: metrics with 95 % bootstrap intervals; see docs/evaluation.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onsight.config import EvaluateConfig
from onsight.domain import ConfidenceMap, Interval, ScoredSplit
from onsight.evaluation.calibration import Reliability, fit_confidence_map, reliability
from onsight.evaluation.counting import count_columns, count_metrics, mean_over_classes, split_counts
from onsight.evaluation.ranking import ranking_areas
from onsight.evaluation.resampling import percentile_interval, resample_weights
from onsight.evaluation.scores import FloatArray, Scores, read_scores

__all__ = ["ClassMetrics", "Evaluation", "evaluate"]

# The areas under curves cost a sort each: their intervals rest on fewer resamples.
_MOST_CURVE_RESAMPLES = 500


@dataclass(frozen=True)
class ClassMetrics:
    """One class; a value that cannot be computed (no image of the class) is NaN.

    Attributes:
        support: Images that have the class.
    """

    name: str
    support: int
    precision: float
    recall: float
    f1: float
    roc_auc: float
    pr_auc: float


@dataclass(frozen=True)
class Evaluation:
    """How good a network is on N images.

    Attributes:
        metrics: accuracy, balanced_accuracy, top_k_accuracy, macro_f1, roc_auc, pr_auc, log_loss and ece, each with
            its 95 % bootstrap interval.
        per_class: In the order of the classes.
        confusion: int64; multi-class [C, C], true by predicted; multi-label [C, 2, 2], by class absent and present,
            true by predicted.
        confidence_map: From the confidence of an answer to how often such answers were right.
        n: Images.
        top_k: What k was: the config's, and less than the number of classes.
        resamples: Of the intervals; those of the areas under curves rest on at most 500.
    """

    metrics: dict[str, Interval]
    per_class: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]
    reliability: Reliability
    confidence_map: ConfidenceMap
    n: int
    top_k: int
    resamples: int
    seed: int

    def values(self) -> dict[str, float]:
        """The metrics without their intervals, those that are known."""
        return {name: interval.value for name, interval in self.metrics.items() if not np.isnan(interval.value)}


def evaluate(scored: ScoredSplit, config: EvaluateConfig) -> Evaluation:
    """Measure a network.

    Args:
        scored: Images, labels and probabilities of one unshuffled pass.
        config: ``top_k``, ``bootstrap_samples`` and ``seed`` are used.

    Raises:
        DatasetError: No image, or labels that do not fit the classifier type.
        TrainingError: The network's answers are no probabilities.
    """
    scores = read_scores(scored)
    n_classes = len(scored.classes)
    # Among all classes the right one is always found: k stays below their number.
    top_k = max(1, min(config.top_k, n_classes - 1))
    columns = count_columns(scores, top_k)
    areas = _areas(scores, np.ones((1, len(scores))))
    return Evaluation(
        metrics=_counted(scores, columns, config) | _ranked(scores, areas, config),
        per_class=_per_class(scored.classes, columns.sum(axis=0, keepdims=True), areas),
        confusion=_confusion(scores),
        reliability=reliability(scores),
        confidence_map=fit_confidence_map(scored),
        n=len(scores),
        top_k=top_k,
        resamples=config.bootstrap_samples,
        seed=config.seed,
    )


def _counted(scores: Scores, columns: FloatArray, config: EvaluateConfig) -> dict[str, Interval]:
    n, n_classes = scores.labels.shape
    sums = np.concatenate([w @ columns for w in resample_weights(n, config.bootstrap_samples, config.seed)])
    values = count_metrics(columns.sum(axis=0, keepdims=True), n_classes, is_multi_label=scores.is_multi_label)
    resampled = count_metrics(sums, n_classes, is_multi_label=scores.is_multi_label)
    return {name: percentile_interval(float(value[0]), resampled[name]) for name, value in values.items()}


def _ranked(scores: Scores, areas: dict[str, FloatArray], config: EvaluateConfig) -> dict[str, Interval]:
    resamples = min(config.bootstrap_samples, _MOST_CURVE_RESAMPLES)
    blocks = [_areas(scores, weights) for weights in resample_weights(len(scores), resamples, config.seed)]
    intervals = {}
    for name, area in areas.items():
        resampled = mean_over_classes(np.concatenate([block[name] for block in blocks]))
        intervals[name] = percentile_interval(float(mean_over_classes(area)[0]), resampled)
    return intervals


def _areas(scores: Scores, weights: FloatArray) -> dict[str, FloatArray]:
    """float64 [B, C] by name: each class against the rest."""
    # Whole numbers below 2^24 are exact in float32, and half as long to move.
    by_image = np.ascontiguousarray(weights.T, dtype=np.float32)
    areas = [
        ranking_areas(label, score, by_image)
        for label, score in zip(scores.labels.T, scores.probabilities.T, strict=True)
    ]
    return {
        "roc_auc": np.stack([area.roc_auc for area in areas], axis=1),
        "pr_auc": np.stack([area.pr_auc for area in areas], axis=1),
    }


def _per_class(classes: tuple[str, ...], sums: FloatArray, areas: dict[str, FloatArray]) -> tuple[ClassMetrics, ...]:
    counts = split_counts(sums, len(classes))
    values = np.concatenate(
        [counts.precision(), counts.recall(), counts.f1(), areas["roc_auc"], areas["pr_auc"]]
    ).T.tolist()
    support = counts.actual[0].astype(int).tolist()
    return tuple(ClassMetrics(name, n, *row) for name, n, row in zip(classes, support, values, strict=True))


def _confusion(scores: Scores) -> NDArray[np.int64]:
    labels, predictions = scores.labels.astype(np.int64), scores.predictions.astype(np.int64)
    if not scores.is_multi_label:
        matrix: NDArray[np.int64] = labels.T @ predictions
        return matrix
    both = (labels & predictions).sum(axis=0)
    missed, false = labels.sum(axis=0) - both, predictions.sum(axis=0) - both
    neither = len(scores) - both - missed - false
    return np.stack([np.stack([neither, false], axis=1), np.stack([missed, both], axis=1)], axis=1)
