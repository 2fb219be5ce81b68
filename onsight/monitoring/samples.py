"""Reference data and windows as drift tests take them, and which of their rows are typical."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onsight.db import PredictionWindow
from onsight.drift import DriftSample, ReferenceData

__all__ = ["reference_sample", "typical_rows", "window_sample"]

Array = NDArray[np.float64]


def reference_sample(reference: ReferenceData) -> DriftSample:
    """A bundle's reference data.

    One of an older release lacks image properties, so that these are not tested; its probabilities are its BBSD
    features, which are the same numbers.
    """
    probabilities = reference.bbsd_features if reference.probabilities is None else reference.probabilities
    return DriftSample(
        uae_feats=reference.uae_features.astype(np.float64),
        bbsd_feats=reference.bbsd_features.astype(np.float64),
        probabilities=probabilities.astype(np.float64),
        properties=_with_aspect(reference.properties),
        formats=reference.formats,
        clients=(),
        created_at_s=np.empty(0),
    )


def window_sample(window: PredictionWindow) -> DriftSample:
    """A window of logged predictions, in its order."""
    return DriftSample(
        uae_feats=window.uae_feats,
        bbsd_feats=window.bbsd_feats,
        probabilities=window.probabilities,
        properties=_with_aspect(window.properties),
        formats=window.formats,
        clients=window.clients,
        created_at_s=np.array([moment.timestamp() for moment in window.created_at]),
    )


def typical_rows(features: Array, count: int) -> list[int]:
    """The rows nearest to the middle of their own set, the nearest first.

    Distances are from the medians, in interquartile ranges, so that no outlier moves them.

    Args:
        features: [N, D].
        count: How many, at most.
    """
    if not len(features):
        return []
    low, middle, high = np.quantile(features, [0.25, 0.5, 0.75], axis=0)
    spread = np.where(high > low, high - low, 1.0)
    distances = (((features - middle) / spread) ** 2).sum(axis=1)
    return [int(row) for row in np.argsort(distances, kind="stable")[:count]]


def _with_aspect(properties: Mapping[str, Array]) -> dict[str, Array]:
    if not {"width", "height"} <= set(properties):
        return dict(properties)
    return {**properties, "aspect": properties["width"] / properties["height"]}
