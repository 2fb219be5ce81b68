"""Onsight's own drift detector, on SciPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onsight.domain import DriftVerdict
from onsight.drift.detector import MIN_WINDOW_ROWS, DetectorSpec, checked_window, thinned
from onsight.drift.statistics import bonferroni, ks_p_value, ks_statistics, mmd_permutation_test

__all__ = ["NativeDetector"]

_PERMUTATIONS_PER_P_VALUE = 10


class NativeDetector:
    """KS tests with Bonferroni's correction, or an MMD permutation test.

    Args:
        spec: What is tested.
        reference: [R, D] features of held-out images.
    """

    def __init__(self, spec: DetectorSpec, reference: ArrayLike) -> None:
        self.spec = spec
        self.reference: NDArray[np.float64] = thinned(np.asarray(reference, dtype=np.float64), spec)

    def test(self, window: ArrayLike) -> DriftVerdict:
        """Test a window of features [W, D]; see ``DriftDetector.test``."""
        rows = checked_window(window, self.reference)
        n_window = len(rows)
        statistic: float | None = None
        p_value: float | None = None
        if n_window >= MIN_WINDOW_ROWS:
            statistic, p_value = self._p_value(thinned(rows, self.spec))
        return DriftVerdict(
            features=self.spec.features,
            detector=f"native-{self.spec.test}",
            is_drift=None if p_value is None else p_value < self.spec.p_value,
            p_value=p_value,
            threshold=self.spec.p_value,
            statistic=statistic,
            n_reference=len(self.reference),
            n_window=n_window,
        )

    def _p_value(self, rows: NDArray[np.float64]) -> tuple[float, float]:
        if self.spec.test == "ks":
            statistics = ks_statistics(self.reference, rows)
            # The sizes are the same for every feature, so the largest statistic has the smallest p-value.
            largest = float(statistics.max())
            return largest, bonferroni(ks_p_value(largest, len(self.reference), len(rows)), len(statistics))
        permutations = int(_PERMUTATIONS_PER_P_VALUE / self.spec.p_value)
        return mmd_permutation_test(self.reference, rows, permutations=permutations, seed=self.spec.seed)
