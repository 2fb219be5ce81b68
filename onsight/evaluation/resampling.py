"""The bootstrap: images drawn with replacement, many times, as counts of how often each was drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onsight.domain import Interval
from onsight.evaluation.scores import FloatArray

__all__ = ["percentile_interval", "resample_weights"]

_CELLS_AT_ONCE = 2_000_000
_TAIL_PERCENT = 2.5


def resample_weights(n: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Draw ``n`` of ``n`` images with replacement, ``resamples`` times, in blocks that fit into memory.

    Yields:
        float64 [B, n], how often each image was drawn; the B sum to ``resamples``.
    """
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, n, size=(size, n))
        drawn += np.arange(size)[:, np.newaxis] * n
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def percentile_interval(value: float, resampled: FloatArray) -> Interval:
    """A value with the 95 % percentile interval of its resamples; those without a value are left out."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(known, [_TAIL_PERCENT, 100 - _TAIL_PERCENT])
    return Interval(value, float(low), float(high))
