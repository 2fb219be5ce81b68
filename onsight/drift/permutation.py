"""Permutation tests of many statistics at once: one set of relabellings, one exact p-value for all of them.

Under the null hypothesis the rows of reference and window are exchangeable: which of the pooled rows are the window's
is a uniform draw. Every number here is computed in the same way for the observed labelling (row 0) and for the drawn
ones, so the rank of the observed one is uniform whatever the dependence between statistics.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

__all__ = ["adjusted_p_values", "draw_labels", "observed_labels", "surprise"]

Array = NDArray[np.float64]
Labels = NDArray[np.float32]

_SMALLEST_P = 1e-300
# Equal statistics of a discrete feature may differ in their last digits: they count as equal.
_RELATIVE_TOLERANCE = 1e-4
_SKEWNESS_RANGE = (1e-3, 20.0)


def draw_labels(n_reference: int, n_window: int, permutations: int, random: np.random.Generator) -> Labels:
    """Labellings of the pooled rows, reference first.

    Returns:
        float32 [permutations, n_reference + n_window], 1 for a row of the window.
    """
    rows = n_reference + n_window
    labels = np.zeros((permutations, rows), dtype=np.float32)
    for labelling in labels:
        labelling[random.choice(rows, n_window, replace=False, shuffle=False)] = 1.0
    return labels


def observed_labels(n_reference: int, n_window: int) -> Labels:
    """The labelling that was observed, float32 [1, n_reference + n_window]."""
    return np.concatenate([np.zeros(n_reference, np.float32), np.ones(n_window, np.float32)])[None]


def surprise(statistics: Array) -> Array:
    """How far up its own permutation distribution each value lies, so that different statistics can be compared.

    Minus the logarithm of an approximate p-value: a Pearson type III (shifted gamma) distribution with the mean,
    variance and skewness of all *other* labellings. The approximation only weighs statistics against each other; the
    p-values that are reported come from ranks.

    Args:
        statistics: [1 + B] values of one statistic; large ones speak against the null hypothesis.

    Returns:
        float64 [1 + B], at least 0.
    """
    spread = statistics.std()
    # No labelling differs from another by more than rounding: nothing to be surprised at.
    if not spread > _RELATIVE_TOLERANCE * np.abs(statistics).max(initial=0.0):
        return np.zeros(len(statistics))
    values = (statistics - statistics.mean()) / spread
    others = len(values) - 1
    first, second, third = ((values**power).sum() - values**power for power in (1, 2, 3))
    mean = first / others
    variance = np.maximum(second / others - mean**2, 1e-12)
    central = third / others - 3 * mean * second / others + 2 * mean**3
    skewness = np.clip(central / variance**1.5, *_SKEWNESS_RANGE)
    shape = 4.0 / skewness**2
    scaled = shape + (values - mean) / np.sqrt(variance) * np.sqrt(shape)
    minus_log: Array = -np.log(np.maximum(gammaincc(shape, np.maximum(scaled, 0.0)), _SMALLEST_P))
    return minus_log


def adjusted_p_values(observed: Array, largest: Array) -> Array:
    """Single-step p-values adjusted for all tests whose maximum is given.

    Source: Westfall and Young, *Resampling-Based Multiple Testing*, 1993: the family-wise error rate holds under any
    dependence.

    Args:
        observed: [K] observed values of comparable statistics.
        largest: [1 + B] the maximum over those statistics for each labelling, the observed one included.

    Returns:
        float64 [K], at least 1 / (1 + B).
    """
    ordered = np.sort(largest)
    limits = observed - _RELATIVE_TOLERANCE * np.abs(observed)
    at_least = len(ordered) - np.searchsorted(ordered, limits, side="left")
    return np.maximum(at_least, 1) / len(ordered)
