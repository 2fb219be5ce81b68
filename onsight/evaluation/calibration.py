"""Whether a network is right as often as it says it is (Guo et al., On Calibration of Modern Neural Networks, 2017).

And how often it is right when it says so: the map that turns confidence into expected accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onsight.domain import ConfidenceMap, ScoredSplit
from onsight.evaluation.scores import BoolArray, FloatArray, Scores, read_scores

__all__ = [
    "BINS",
    "Reliability",
    "answer_confidence",
    "calibration_columns",
    "calibration_error",
    "expected_accuracy",
    "fit_confidence_map",
    "reliability",
]

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """What a reliability diagram shows, by bins of equal width over (0, 1].

    Attributes:
        edges: float64 [BINS + 1].
        counts: int64 [BINS], answers in the bin.
        confidence: float64 [BINS], mean confidence; NaN in an empty bin.
        accuracy: float64 [BINS], share of right answers; NaN in an empty bin.
    """

    edges: FloatArray
    counts: NDArray[np.int64]
    confidence: FloatArray
    accuracy: FloatArray


def calibration_columns(scores: Scores) -> FloatArray:
    """For each image: answers, summed confidence and right answers by bin.

    An image gives one answer, its most probable class; in a multi-label split it gives one for each class, "there"
    or "not there", whichever is more probable.

    Returns:
        float64 [N, 3 * BINS]; ``calibration_error`` takes sums of its rows.
    """
    confidence, is_right = _answers(scores)
    n, answers = confidence.shape
    # Bin m holds ((m - 1) / BINS, m / BINS].
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    columns = np.zeros((n, 3, BINS))
    rows = np.repeat(np.arange(n), answers)
    for kind, values in enumerate((np.ones_like(confidence), confidence, is_right.astype(np.float64))):
        np.add.at(columns[:, kind], (rows, bins.ravel()), values.ravel())
    return columns.reshape(n, 3 * BINS)


def calibration_error(sums: FloatArray) -> FloatArray:
    """The expected calibration error: the mean gap between confidence and accuracy, weighted by the bins' sizes.

    Args:
        sums: float64 [B, 3 * BINS], rows of ``calibration_columns`` summed.

    Returns:
        float64 [B].
    """
    counts, confidence, right = np.split(sums, 3, axis=1)
    error: FloatArray = np.abs(right - confidence).sum(axis=1) / counts.sum(axis=1)
    return error


def reliability(scores: Scores) -> Reliability:
    """The reliability diagram of a split."""
    counts, confidence, right = np.split(calibration_columns(scores).sum(axis=0), 3)
    sizes = np.where(counts > 0, counts, np.nan)
    return Reliability(np.linspace(0, 1, BINS + 1), counts.astype(np.int64), confidence / sizes, right / sizes)


def answer_confidence(probabilities: NDArray[np.floating[Any]], *, is_multi_label: bool) -> FloatArray:
    """How sure a network is that an image's whole answer is right.

    Multi-class: the probability of the top class. Multi-label: the product over the classes of the probability of
    "there" or "not there", whichever is said, as if they were independent. Where they are not, the map makes up for it.

    Args:
        probabilities: float [N, C].
        is_multi_label: Of the model.

    Returns:
        float64 [N].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    found: FloatArray = np.maximum(values, 1 - values).prod(axis=1) if is_multi_label else values.max(axis=1)
    return np.clip(found, 0.0, 1.0)


def fit_confidence_map(scored: ScoredSplit) -> ConfidenceMap:
    """How often answers of a confidence were right: isotonic regression (Zadrozny and Elkan, KDD 2002).

    Its mean over the split is the split's accuracy, exactly.

    Raises:
        DatasetError: No image, or labels that do not fit the classifier type.
        TrainingError: The network's answers are no probabilities.
    """
    from sklearn.isotonic import IsotonicRegression

    scores = read_scores(scored)
    confidences = answer_confidence(scored.probabilities, is_multi_label=scores.is_multi_label)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(confidences, scores.is_right)
    accuracies = np.maximum.accumulate(fitted.y_thresholds_)
    return ConfidenceMap(tuple(fitted.X_thresholds_.tolist()), tuple(accuracies.tolist()), len(scores))


def expected_accuracy(confidences: FloatArray, confidence_map: ConfidenceMap | None) -> FloatArray:
    """How often answers of these confidences are right if P(label | image) is what it was in the evaluation.

    Args:
        confidences: float64 [N].
        confidence_map: None takes the confidence itself, which is right only for a network that is calibrated.

    Returns:
        float64 [N].
    """
    if confidence_map is None:
        return confidences
    expected: FloatArray = np.interp(confidences, confidence_map.confidences, confidence_map.accuracies)
    return expected


def _answers(scores: Scores) -> tuple[FloatArray, BoolArray]:
    """Confidence and rightness, [N, 1] or [N, C]."""
    if scores.is_multi_label:
        return np.maximum(scores.probabilities, 1 - scores.probabilities), scores.predictions == scores.labels
    return scores.probabilities.max(axis=1, keepdims=True), scores.is_right[:, np.newaxis]
