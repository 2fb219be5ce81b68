"""What a drift detector is, whoever does its test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onsight.domain import DriftVerdict

__all__ = ["MIN_WINDOW_ROWS", "DetectorSpec", "DriftDetector", "judge_window", "thinned"]

# Below this a verdict would say more about the window's size than about the images: with 20 rows a KS test at 0.01,
# corrected for 32 features, already needs almost half of the rows to lie outside the reference.
MIN_WINDOW_ROWS = 20
# More rows than this are thinned, so that a test's time and memory stay bounded whatever the window.
MAX_ROWS = {"ks": 20_000, "mmd": 1_000}


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector tests, and how.

    Attributes:
        features: Which features its rows are.
        library: Who tests: Onsight's own code on SciPy, or alibi-detect.
        test: ``ks``: per-feature Kolmogorov-Smirnov tests, Bonferroni-corrected; ``mmd``: maximum mean discrepancy.
        p_value: The false-alarm rate that the test promises.
        seed: Of thinning and of permutations.
    """

    features: Literal["uae", "bbsd"]
    library: Literal["native", "alibi-detect"] = "native"
    test: Literal["ks", "mmd"] = "ks"
    p_value: float = 0.01
    seed: int = 17

    @property
    def permutations(self) -> int:
        """Relabellings of a permutation test: enough for p-values a tenth of the promised rate."""
        return int(10 / self.p_value)


class DriftDetector(Protocol):
    """Tests windows of features against the reference that it was fitted on."""

    spec: DetectorSpec
    reference: NDArray[np.float64]

    def test(self, window: ArrayLike) -> DriftVerdict:
        """Test a window of features [W, D].

        ``is_drift`` is None when the window has fewer than ``MIN_WINDOW_ROWS`` rows.

        Raises:
            ValueError: If the window's D differs from the reference's, or a value is not finite.
        """
        ...


def checked_window(window: ArrayLike, reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The window as float64 [W, D].

    Raises:
        ValueError: If the window's D differs from the reference's, or a value is not finite.
    """
    rows = np.asarray(window, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != reference.shape[1]:  # noqa: PLR2004 - rows by features
        raise ValueError(f"a window is [W, {reference.shape[1]}] like the reference, not {list(rows.shape)}")
    if not np.isfinite(rows).all():
        raise ValueError("the window holds values that are not finite")
    return rows


def thinned(rows: NDArray[np.float64], spec: DetectorSpec) -> NDArray[np.float64]:
    """At most ``MAX_ROWS`` of the rows, drawn without replacement."""
    limit = MAX_ROWS[spec.test]
    if len(rows) <= limit:
        return rows
    kept = np.random.default_rng(spec.seed).choice(len(rows), limit, replace=False)
    return np.take(rows, kept, axis=0)


def judge_window(
    spec: DetectorSpec,
    reference: NDArray[np.float64],
    window: ArrayLike,
    measure: Callable[[NDArray[np.float64]], tuple[float, float]],
) -> DriftVerdict:
    """Whether a window drifted, whoever measures it.

    Args:
        spec: What is tested.
        reference: float64 [R, D], as the detector keeps it.
        window: Features [W, D].
        measure: Gives the statistic and the p-value of the whole test for thinned rows; not asked below
            ``MIN_WINDOW_ROWS``.

    Raises:
        ValueError: If the window's D differs from the reference's, or a value is not finite.
    """
    rows = checked_window(window, reference)
    statistic: float | None = None
    p_value: float | None = None
    if len(rows) >= MIN_WINDOW_ROWS:
        statistic, p_value = measure(thinned(rows, spec))
    return DriftVerdict(
        features=spec.features,
        detector=f"{spec.library}-{spec.test}",
        is_drift=None if p_value is None else p_value < spec.p_value,
        p_value=p_value,
        threshold=spec.p_value,
        statistic=statistic,
        n_reference=len(reference),
        n_window=len(rows),
    )
