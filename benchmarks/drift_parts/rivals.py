"""alibi-detect's KSDrift and MMDDrift as their documentation shows them, and the same tests fast enough to simulate.

A cell of the power table takes tens of windows; MMDDrift permutes its kernel matrix in a loop. So the same
statistics are computed with matrix products, and alibi-detect's own detectors run beside them on some windows:
``check`` refuses to go on if they do not agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onsight.drift.statistics import ks_p_value, ks_statistics

__all__ = ["FALSE_ALARM_RATE", "any_alarms", "check", "ks_alarms", "mmd_alarms"]

Array = NDArray[np.float64]
FALSE_ALARM_RATE = 0.01
PERMUTATIONS = 100  # MMDDrift's default
MORE_PERMUTATIONS = 1_000  # for a quarter of the rate


def any_alarms(pairs: Sequence[tuple[Array, Array]], random: np.random.Generator) -> bool:
    """Both detectors on several kinds of features, by Bonferroni's correction with the false alarms of one of them."""
    rate = FALSE_ALARM_RATE / (2 * len(pairs))
    return any(
        ks_alarms(*pair, rate) or mmd_alarms(*pair, random, rate, permutations=MORE_PERMUTATIONS) for pair in pairs
    )


def ks_alarms(reference: Array, window: Array, rate: float = FALSE_ALARM_RATE) -> bool:
    """``KSDrift(reference, p_val=rate)``: asymptotic KS tests, Bonferroni's correction (both its default)."""
    largest = float(ks_statistics(reference, window).max())
    return ks_p_value(largest, len(reference), len(window)) < rate / reference.shape[1]


def mmd_alarms(
    reference: Array,
    window: Array,
    random: np.random.Generator,
    rate: float = FALSE_ALARM_RATE,
    permutations: int = PERMUTATIONS,
) -> bool:
    """``MMDDrift(reference, p_val=rate)``: an alarm when a smaller share of permutations reach the statistic."""
    kernel = _kernel(reference, window)
    labels = np.zeros((len(kernel), permutations + 1), np.float32)
    labels[len(reference) :, 0] = 1
    for column in range(1, permutations + 1):
        labels[random.permutation(len(kernel))[: len(window)], column] = 1
    values = _mmd2(kernel, labels, len(reference), len(window))
    return float((values[0] <= values[1:]).mean()) < rate


def check(reference: Array, window: Array) -> None:
    """Refuse to go on unless alibi-detect's own detectors give the same statistics and verdict."""
    from alibi_detect.cd import KSDrift, MMDDrift

    first, second = reference.astype(np.float32), window.astype(np.float32)
    theirs = KSDrift(first, p_val=FALSE_ALARM_RATE).predict(second)["data"]
    np.testing.assert_allclose(ks_statistics(first, second), theirs["distance"], atol=1e-6)
    if bool(theirs["is_drift"]) != ks_alarms(first, second):
        raise RuntimeError("KSDrift gives another verdict")
    theirs = MMDDrift(first, p_val=FALSE_ALARM_RATE, n_permutations=2).predict(second)["data"]
    labels = np.zeros((len(first) + len(second), 1), np.float32)
    labels[len(first) :] = 1
    ours = _mmd2(_kernel(first, second), labels, len(first), len(second))[0]
    np.testing.assert_allclose(ours, theirs["distance"], atol=2e-4)


def _kernel(reference: Array, window: Array) -> NDArray[np.float32]:
    """GaussianRBF with alibi-detect's width: the median of the squared distances within the reference."""
    rows = np.concatenate([reference, window]).astype(np.float64)
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2.0 * rows @ rows.T, 0.0)
    within = distances[: len(reference), : len(reference)]
    width = np.median(within[np.triu_indices(len(reference), 1)])
    kernel = np.exp((-distances / width).astype(np.float32))
    np.fill_diagonal(kernel, 0)
    return kernel


def _mmd2(kernel: NDArray[np.float32], labels: NDArray[np.float32], n_reference: int, n_window: int) -> Array:
    products = (kernel @ labels).astype(np.float64)
    within_window = (labels * products).sum(axis=0)
    between = products.sum(axis=0) - within_window
    within_reference = kernel.sum(dtype=np.float64) - within_window - 2 * between
    mmd2: Array = (
        within_reference / (n_reference * (n_reference - 1))
        + within_window / (n_window * (n_window - 1))
        - 2 * between / (n_reference * n_window)
    )
    return mmd2
