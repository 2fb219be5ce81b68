"""What each test of a drift judgement looks at, as statistics over many labellings of the pooled rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onsight.domain import DriftTest
from onsight.drift.sample import DriftSample
from onsight.drift.scores import RANK_WEIGHTS, fourier_scores, rank_scores, standardised, whitened

__all__ = ["Evidence", "Observations", "gather", "observations"]

Array = NDArray[np.float64]
Labels = NDArray[np.float32]

_POSITIVE = 0.5


@dataclass(frozen=True)
class Evidence:
    """One test's statistics, for the observed labelling first and then for the drawn ones; large ones mean drift.

    Attributes:
        statistics: Each float64 [1 + B].
        per_feature: float64 [1 + B, K], comparable with each other.
    """

    statistics: tuple[Array, ...]
    per_feature: Array


@dataclass(frozen=True)
class Observations:
    """The numbers that one test looks at, or none if it does not apply.

    Attributes:
        names: K features.
        reference: float64 [R, K].
        window: float64 [W, K].
        kind: ``features``: joint and per-feature tests; ``single``: per-feature tests alone; ``counts``: 0/1 columns.
    """

    names: tuple[str, ...]
    reference: Array
    window: Array
    kind: str = "single"

    def __len__(self) -> int:
        return len(self.names)


def observations(
    reference: DriftSample, window: DriftSample, *, multi_label: bool
) -> dict[DriftTest, tuple[Observations, ...]]:
    """What each test looks at: its name, and one or more groups of features."""
    both = (reference, window)
    uae = [sample.uae_feats for sample in both]
    bbsd = [sample.bbsd_feats for sample in both]
    classes = [_predicted(sample.probabilities, multi_label=multi_label) for sample in both]
    confidence = [_confidence(sample.probabilities, multi_label=multi_label) for sample in both]
    return {
        "uae": (_group(_numbered("uae", uae[0]), uae, "features"),),
        "bbsd": (_group(_numbered("bbsd", bbsd[0]), bbsd, "features"),),
        "class_mix": (_group(_numbered("class", classes[0]), classes, "counts"),),
        "confidence": (_group(("confidence",), confidence),),
        "properties": tuple(group for group in (_properties(*both), _formats(*both)) if len(group)),
    }


def gather(group: Observations, labels: Labels, seed: int) -> Evidence:
    """The group's statistics for each labelling."""
    pooled = np.concatenate([group.reference, group.window])
    if group.kind == "counts":
        return _counts(pooled, labels)
    scores = _sums(labels, rank_scores(pooled)) ** 2
    # Each feature's squares have expectation w for each of its weights: the features are comparable.
    per_feature = scores.reshape(len(labels), len(group), -1) @ RANK_WEIGHTS
    statistics = [per_feature.max(axis=1)]
    if group.kind == "features":
        statistics += [
            # Many features that shift a little are not seen in the largest alone.
            per_feature.sum(axis=1),
            # Hotelling's test: a shift in a direction in which the features hardly vary.
            (_sums(labels, whitened(pooled).astype(np.float32)) ** 2).sum(axis=1),
            # Maximum mean discrepancy: any other change of the joint distribution.
            (_sums(labels, fourier_scores(standardised(pooled), seed)) ** 2).sum(axis=1),
        ]
    return Evidence(tuple(statistics), per_feature)


def _counts(pooled: Array, labels: Labels) -> Evidence:
    """Pearson's chi-square of each 0/1 column; the sums are whole numbers, so equal counts are exactly equal."""
    n_window = float(labels[0].sum())
    share = pooled.mean(axis=0)
    variance = np.maximum(share * (1 - share), 1e-12)
    distance = (_sums(labels, pooled.astype(np.float32)) - n_window * share) ** 2
    per_feature = distance / variance
    expected = np.maximum(share, 1e-12)
    return Evidence(((distance / expected).sum(axis=1),), per_feature)


def _sums(labels: Labels, columns: NDArray[np.float32]) -> Array:
    return (labels @ columns).astype(np.float64)


def _group(names: tuple[str, ...], values: Sequence[Array], kind: str = "single") -> Observations:
    return Observations(names, values[0], values[1], kind)


def _numbered(name: str, values: Array) -> tuple[str, ...]:
    return tuple(f"{name}_{index}" for index in range(values.shape[1]))


def _predicted(probabilities: Array, *, multi_label: bool) -> Array:
    if multi_label:
        return np.asarray(probabilities >= _POSITIVE, dtype=np.float64)
    classes: Array = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    return classes


def _confidence(probabilities: Array, *, multi_label: bool) -> Array:
    if multi_label:
        probabilities = np.maximum(probabilities, 1 - probabilities)
        return np.asarray(probabilities.mean(axis=1, keepdims=True), dtype=np.float64)
    return np.asarray(probabilities.max(axis=1, keepdims=True), dtype=np.float64)


def _properties(reference: DriftSample, window: DriftSample) -> Observations:
    """The properties that every row of both has: a row without one says nothing about the images."""
    names = tuple(
        name
        for name in reference.properties
        if name in window.properties
        and np.isfinite(reference.properties[name]).all()
        and np.isfinite(window.properties[name]).all()
    )
    columns = [
        np.column_stack([sample.properties[name] for name in names]) if names else np.empty((len(sample), 0))
        for sample in (reference, window)
    ]
    return _group(names, columns)


def _formats(reference: DriftSample, window: DriftSample) -> Observations:
    known = sorted({*reference.formats, *window.formats}) if reference.formats and window.formats else []
    columns = [
        np.array([[name == other for other in known] for name in sample.formats], dtype=np.float64).reshape(
            len(sample), len(known)
        )
        for sample in (reference, window)
    ]
    return _group(tuple(f"format {name}" for name in known), columns, "counts")
