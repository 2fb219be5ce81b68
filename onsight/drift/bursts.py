"""Bursts in a window: near-duplicate images that one client sent in quick succession count as one."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from onsight.drift.sample import DriftSample

__all__ = ["near_duplicate_distance", "thin_bursts"]

Array = NDArray[np.float64]

# Two different images of the reference are closer than a near-duplicate with this probability, so hardly any row is
# thinned that should not be.
_CLOSE_SHARE = 0.001
_PAIRS = 200_000
# A client may send the images of several cameras in turns: this many of its bursts stay open at a time.
_OPEN_BURSTS = 8


def near_duplicate_distance(reference: Array, seed: int) -> float:
    """How close two images' features are that are taken for frames of the same scene.

    Args:
        reference: [R, D], features scaled to unit variance.
        seed: Of the pairs that are looked at.
    """
    random = np.random.default_rng(seed)
    first, second = random.integers(0, len(reference), (2, _PAIRS))
    pairs = first != second
    distances = np.linalg.norm(reference[first[pairs]] - reference[second[pairs]], axis=1)
    return float(np.quantile(distances, _CLOSE_SHARE)) if len(distances) else 0.0


def thin_bursts(window: DriftSample, reference: Array, burst_s: float, seed: int) -> NDArray[np.intp]:
    """One row of each burst: the first.

    A row belongs to a burst of its client if it is near the burst's last row in the features' space and came within
    ``burst_s`` of its first row. The limit in time lets a camera that shows the same picture for hours be noticed.

    Args:
        window: Rows in any order, with clients and times; without them nothing is thinned.
        reference: [R, D] UAE features that set the scale.
        burst_s: How long a burst lasts at most, seconds.
        seed: Of the pairs that set the distance.

    Returns:
        Ascending indices of the rows that are kept.
    """
    if not window.clients or not len(window.created_at_s):
        return np.arange(len(window), dtype=np.intp)
    spread = reference.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    limit = near_duplicate_distance(reference / scale, seed)
    kept: list[int] = []
    open_bursts: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for row in np.argsort(window.created_at_s, kind="stable"):
        bursts, now_s = open_bursts[window.clients[row]], float(window.created_at_s[row])
        bursts[:] = [burst for burst in bursts if now_s - burst[0] <= burst_s][-_OPEN_BURSTS:]
        joined = next((burst for burst in bursts if _near(window.uae_feats, burst[1], row, scale, limit)), None)
        if joined is None:
            kept.append(int(row))
        else:
            bursts.remove(joined)
        bursts.append((joined[0] if joined else now_s, int(row)))
    return np.sort(np.array(kept, dtype=np.intp))


def _near(features: Array, first: int, second: int, scale: Array, limit: float) -> bool:
    return bool(np.linalg.norm((features[first] - features[second]) / scale) <= limit)
