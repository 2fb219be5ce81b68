"""Columns of numbers for each pooled row, whose sums over the window's rows are what the drift tests look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.spatial.distance import pdist
from scipy.stats import rankdata

__all__ = ["RANK_WEIGHTS", "fourier_scores", "rank_scores", "standardised", "whitened"]

Array = NDArray[np.float64]
Columns = NDArray[np.float32]

# Weights of the first Legendre polynomials of the ranks in the Anderson-Darling statistic, 1 / (j (j + 1)).
RANK_WEIGHTS = np.array([1 / 2, 1 / 6, 1 / 12, 1 / 20])
# Features of an encoder are strongly correlated: without it the directions in which they hardly vary would rule.
_SHRINKAGE = 0.1
_FREQUENCIES = 128
_MEDIAN_ROWS = 300


def standardised(values: Array) -> Array:
    """[N, K] columns with mean 0 and variance 1; a constant column is all zeros."""
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    is_constant = spread <= 1e-12 * np.maximum(1.0, np.abs(values).max(axis=0, initial=0.0))
    scaled: Array = np.where(is_constant, 0.0, centred / np.where(is_constant, 1.0, spread))
    return scaled


def rank_scores(values: Array) -> Columns:
    """Legendre polynomials of degree 1 to 4 of each feature's pooled ranks: shift, spread, skewness, tails.

    Their weighted squares are the leading terms of the Anderson-Darling statistic's expansion (Anderson and Darling,
    *Annals of Mathematical Statistics* 23, 1952). Ties share their mean rank.

    Args:
        values: [N, D].

    Returns:
        float32 [N, D * 4], the four of a feature side by side, each standardised.
    """
    x = 2.0 * (rankdata(values, axis=0) - 0.5) / len(values) - 1.0
    square = x * x
    scores = np.stack([x, square, x * (5 * square - 3), square * (35 * square - 30)], axis=2)
    return standardised(scores.reshape(len(values), -1)).astype(np.float32)


def whitened(values: Array) -> Array:
    """[N, D] values turned and scaled so that the features are nearly uncorrelated, each with variance near 1."""
    scaled = standardised(values)
    correlation = scaled.T @ scaled / len(scaled)
    shrunk = (1 - _SHRINKAGE) * correlation + _SHRINKAGE * np.eye(len(correlation))
    turned: Array = solve_triangular(np.linalg.cholesky(shrunk), scaled.T, lower=True).T
    return turned


def fourier_scores(values: Array, seed: int) -> Columns:
    """Random Fourier features of an RBF kernel whose width is the median distance.

    The squared length of a window's sum of them is, up to a constant, its squared maximum mean discrepancy. Source:
    Rahimi and Recht, *Random Features for Large-Scale Kernel Machines*, NeurIPS 2007; Gretton et al., *A Kernel
    Two-Sample Test*, JMLR 13 (2012).

    Args:
        values: [N, D].
        seed: Of the frequencies.

    Returns:
        float32 [N, 256], centred.
    """
    random = np.random.default_rng(seed)
    some = values[random.permutation(len(values))[:_MEDIAN_ROWS]]
    distances = pdist(some, "sqeuclidean")
    # Where most rows are the same, as saturated probabilities are, the median says nothing.
    median = float(np.median(distances)) or float(distances.mean()) or 1.0
    # exp(-|x - y|^2 / median) is the characteristic function of a normal distribution with variance 2 / median.
    frequencies = random.normal(scale=np.sqrt(2.0 / median), size=(values.shape[1], _FREQUENCIES))
    angles = (values @ frequencies).astype(np.float32)
    columns = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    centred: Columns = columns - columns.mean(axis=0)
    return centred
