"""What drifted and by how much: for people, after the tests have judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onsight.drift.evidence import Observations
from onsight.drift.statistics import ks_statistics

__all__ = ["FeatureEffect", "feature_effects", "row_distances"]

Array = NDArray[np.float64]

_CHUNK_ROWS = 65_536
_SHRINKAGE = 0.01


@dataclass(frozen=True)
class FeatureEffect:
    """How one feature differs between window and reference.

    Attributes:
        test: The test that the feature belongs to.
        name: Of the feature.
        statistic: Kolmogorov-Smirnov distance, 0 to 1; of a class or a format, the difference of its shares.
        shift: The window's mean minus the reference's, in standard deviations of the reference; infinite where the
            reference is constant and the window's mean is another.
        p_value: Adjusted for all features of the test.
    """

    test: str
    name: str
    statistic: float
    shift: float
    p_value: float


def feature_effects(test: str, group: Observations, p_values: Array) -> tuple[FeatureEffect, ...]:
    """The effect of each of the group's features, with its adjusted p-value [K]."""
    statistics = ks_statistics(group.reference, group.window)
    difference = group.window.mean(axis=0) - group.reference.mean(axis=0)
    spread = group.reference.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shifts = np.where(difference == 0, 0.0, difference / spread)
    return tuple(
        FeatureEffect(test, name, float(statistic), float(shift), float(p_value))
        for name, statistic, shift, p_value in zip(group.names, statistics, shifts, p_values, strict=True)
    )


def row_distances(reference: Array, rows: Array) -> Array:
    """How far each row lies from the reference: its Mahalanobis distance, in units of the reference's own median.

    Args:
        reference: [R, D].
        rows: [W, D], taken in chunks so that memory is bounded.

    Returns:
        float64 [W]; 1 is as typical as the reference's median row.
    """
    mean, spread = reference.mean(axis=0), reference.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    scaled = (reference - mean) / scale
    correlation = (1 - _SHRINKAGE) * scaled.T @ scaled / len(scaled) + _SHRINKAGE * np.eye(scaled.shape[1])
    # Rows times this factor have the inverse correlation as their inner product.
    factor = np.linalg.inv(np.linalg.cholesky(correlation)).T / scale[:, None]
    typical = float(np.median(np.linalg.norm((reference - mean) @ factor, axis=1))) or 1.0
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        distances[start : start + len(chunk)] = np.linalg.norm((chunk - mean) @ factor, axis=1) / typical
    return distances
