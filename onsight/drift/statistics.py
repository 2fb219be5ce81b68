"""Two-sample statistics for windows of features, vectorised over features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstwo

__all__ = ["bonferroni", "ks_p_value", "ks_statistics", "mmd_permutation_test"]

Array = NDArray[np.float64]


def ks_statistics(reference: Array, window: Array) -> Array:
    """Largest distance between the two empirical distribution functions, for each feature.

    Args:
        reference: [R, D].
        window: [W, D].

    Returns:
        float64 [D], between 0 and 1.
    """
    n_reference, n_window = len(reference), len(window)
    distances = np.empty(reference.shape[1])
    for feature in range(reference.shape[1]):
        low, high = np.sort(reference[:, feature]), np.sort(window[:, feature])
        values = np.concatenate([low, high])
        below_low = np.searchsorted(low, values, side="right") / n_reference
        below_high = np.searchsorted(high, values, side="right") / n_window
        distances[feature] = np.abs(below_low - below_high).max()
    return distances


def ks_p_value(statistic: float, n_reference: int, n_window: int) -> float:
    """p-value of a two-sample Kolmogorov-Smirnov statistic.

    The finite-sample one-sample distribution at the effective size R * W / (R + W), as in ``scipy.stats.ks_2samp``
    with ``method="asymp"``. Ties (saturated probabilities) make the test conservative, never too eager.
    """
    effective = max(1, round(n_reference * n_window / (n_reference + n_window)))
    return float(np.clip(kstwo.sf(statistic, effective), 0.0, 1.0))


def bonferroni(smallest_p_value: float, n_tests: int) -> float:
    """One p-value for all tests together, valid under any dependence between them."""
    return min(1.0, n_tests * smallest_p_value)


def mmd_permutation_test(reference: Array, window: Array, *, permutations: int, seed: int) -> tuple[float, float]:
    """Maximum mean discrepancy with an RBF kernel, tested by permutation.

    The unbiased estimator of Gretton et al., *A Kernel Two-Sample Test*, JMLR 13 (2012), equation 3, with the median
    heuristic for the kernel's width. Memory is (R + W) squared doubles: bound the windows before.

    Args:
        reference: [R, D], R at least 2.
        window: [W, D], W at least 2.
        permutations: How many relabellings the p-value rests on; its smallest value is 1 / (permutations + 1).
        seed: Of the relabellings.

    Returns:
        The squared MMD and its p-value.
    """
    rows = np.concatenate([reference, window])
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2.0 * rows @ rows.T, 0.0)
    median = np.median(distances[np.triu_indices(len(rows), 1)])
    kernel = np.exp(-distances / (median if median > 0 else 1.0))
    np.fill_diagonal(kernel, 0.0)

    random = np.random.default_rng(seed)
    is_window = np.zeros((len(rows), permutations + 1))
    is_window[len(reference) :, 0] = 1.0
    for column in range(1, permutations + 1):
        is_window[random.permutation(len(rows))[: len(window)], column] = 1.0
    values = _squared_mmd(kernel, is_window, len(reference), len(window))
    return float(values[0]), float((1 + (values[1:] >= values[0]).sum()) / (permutations + 1))


def _squared_mmd(kernel: Array, is_window: Array, n_reference: int, n_window: int) -> Array:
    """The unbiased estimate for each column of 0/1 labels, from three sums of one matrix product."""
    to_window = kernel @ is_window
    window_window = (is_window * to_window).sum(axis=0)
    reference_window = to_window.sum(axis=0) - window_window
    reference_reference = kernel.sum() - window_window - 2.0 * reference_window
    values: Array = (
        reference_reference / (n_reference * (n_reference - 1))
        + window_window / (n_window * (n_window - 1))
        - 2.0 * reference_window / (n_reference * n_window)
    )
    return values
