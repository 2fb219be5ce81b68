"""A scored split, checked, as the arrays that the metrics are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onsight.domain import ScoredSplit
from onsight.errors import DatasetError, TrainingError

__all__ = ["THRESHOLD", "Scores", "accuracy", "read_scores"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

THRESHOLD = 0.5  # above it, a multi-label network says that the class is there


@dataclass(frozen=True)
class Scores:
    """Labels and probabilities of N images and C classes.

    Attributes:
        labels: bool [N, C].
        probabilities: float64 [N, C]; rows sum to 1 for multi-class.
        predictions: bool [N, C]: the most probable class, or every class above ``THRESHOLD``.
    """

    labels: BoolArray
    probabilities: FloatArray
    predictions: BoolArray
    is_multi_label: bool

    @property
    def is_right(self) -> BoolArray:
        """bool [N]: whether every class of the image is predicted as it is."""
        right: BoolArray = (self.labels == self.predictions).all(axis=1)
        return right

    def __len__(self) -> int:
        return len(self.labels)


def accuracy(scored: ScoredSplit) -> float:
    """Share of the images that are answered rightly; in a multi-label set, rightly for every class.

    Raises:
        DatasetError: No image, or labels that do not fit the classifier type.
        TrainingError: The answers are no probabilities.
    """
    return float(read_scores(scored).is_right.mean())


def read_scores(scored: ScoredSplit) -> Scores:
    """Check a scored split.

    Raises:
        DatasetError: It holds no image, or labels that do not fit its classifier type.
        TrainingError: The network's answers are no probabilities.
        ValueError: Paths, labels, probabilities and classes are not of one size.
    """
    expected = (len(scored.paths), len(scored.classes))
    if scored.labels.shape != expected or scored.probabilities.shape != expected:
        raise ValueError(
            f"labels {scored.labels.shape} and probabilities {scored.probabilities.shape} must both be {expected}"
        )
    if not len(scored.paths):
        raise DatasetError(f"split {scored.name!r} holds no image to evaluate on")
    is_multi_label = scored.classifier_type == "multi-label"
    labels = _checked_labels(scored, is_multi_label=is_multi_label)
    probabilities = _checked_probabilities(scored)
    if is_multi_label:
        return Scores(labels, probabilities, probabilities >= THRESHOLD, is_multi_label)
    # A softmax sums to 1 up to rounding; other activations are brought to it.
    probabilities = probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    predictions = np.zeros_like(labels)
    predictions[np.arange(len(labels)), probabilities.argmax(axis=1)] = True
    return Scores(labels, probabilities, predictions, is_multi_label)


def _checked_labels(scored: ScoredSplit, *, is_multi_label: bool) -> BoolArray:
    labels: BoolArray = scored.labels == 1
    if not (labels | (scored.labels == 0)).all():
        raise DatasetError(f"split {scored.name!r} has labels other than 0 and 1")
    odd = np.flatnonzero(labels.sum(axis=1) != 1)
    if len(odd) and not is_multi_label:
        raise DatasetError(
            f"{len(odd)} images of split {scored.name!r} have no label or several, first {scored.paths[odd[0]]}",
            hint="give every image one class, or set model.classifier_type to multi-label",
        )
    return labels


def _checked_probabilities(scored: ScoredSplit) -> FloatArray:
    probabilities = scored.probabilities.astype(np.float64)
    tolerance = 1e-4
    bad = ~(np.isfinite(probabilities) & (probabilities >= -tolerance) & (probabilities <= 1 + tolerance)).all(axis=1)
    if bad.any():
        first = scored.paths[int(np.flatnonzero(bad)[0])]
        raise TrainingError(
            f"the network answers {int(bad.sum())} of {len(bad)} images with values that are no probabilities",
            hint="training diverged: lower train.hparams.init_lr",
            first_image=str(first),
        )
    return np.clip(probabilities, 0.0, 1.0)
