"""alibi-detect's drift detectors behind Onsight's protocol.

alibi-detect is under the Business Source License: production use in a company may need a licence, see
docs/dependencies.md. Its import loads every backend and takes seconds, so it happens when a detector is first used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onsight.domain import DriftVerdict
from onsight.drift.detector import DetectorSpec, judge_window, thinned
from onsight.drift.statistics import bonferroni

__all__ = ["AlibiDetector"]


class AlibiDetector:
    """alibi-detect's ``KSDrift`` (Bonferroni) or ``MMDDrift``.

    Its own saved form is not used: it may hold pickled objects, and nothing is ever unpickled here. The reference and
    the spec are kept instead, and the detector is built from them again.

    Args:
        spec: What is tested.
        reference: [R, D] features of held-out images.
    """

    def __init__(self, spec: DetectorSpec, reference: ArrayLike) -> None:
        self.spec = spec
        self.reference: NDArray[np.float64] = thinned(np.asarray(reference, dtype=np.float64), spec)
        self._built: Any = None

    def test(self, window: ArrayLike) -> DriftVerdict:
        """Test a window of features [W, D]; see ``DriftDetector.test``."""
        return judge_window(self.spec, self.reference, window, self._measure)

    def _measure(self, rows: NDArray[np.float64]) -> tuple[float, float]:
        detector = self._detector()
        with _seeded(self.spec.seed):
            data = detector.predict(rows.astype(np.float32))["data"]
        p_values = np.atleast_1d(np.asarray(data["p_val"], dtype=np.float64))
        return float(np.max(data["distance"])), bonferroni(float(p_values.min()), len(p_values))

    def _detector(self) -> Any:  # noqa: ANN401 - the library is untyped
        if self._built is None:
            from alibi_detect.cd import KSDrift, MMDDrift

            reference = self.reference.astype(np.float32)
            if self.spec.test == "ks":
                self._built = KSDrift(reference, p_val=self.spec.p_value, correction="bonferroni")
            else:
                self._built = MMDDrift(
                    reference, backend="tensorflow", p_val=self.spec.p_value, n_permutations=self.spec.permutations
                )
        return self._built


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator at ``seed``, and back where it was: MMDDrift draws its permutations from it."""
    before = np.random.get_state()  # noqa: NPY002 - the library takes no generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
