"""Onsight's own drift detector, on SciPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onsight.domain import DriftVerdict
from onsight.drift.detector import DetectorSpec, judge_window, thinned
from onsight.drift.statistics import bonferroni, ks_p_value, ks_statistics, mmd_permutation_test

__all__ = ["NativeDetector"]


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
        return judge_window(self.spec, self.reference, window, self._measure)

    def _measure(self, rows: NDArray[np.float64]) -> tuple[float, float]:
        if self.spec.test == "ks":
            statistics = ks_statistics(self.reference, rows)
            # The sizes are the same for every feature, so the largest statistic has the smallest p-value.
            largest = float(statistics.max())
            return largest, bonferroni(ks_p_value(largest, len(self.reference), len(rows)), len(statistics))
        return mmd_permutation_test(self.reference, rows, permutations=self.spec.permutations, seed=self.spec.seed)
