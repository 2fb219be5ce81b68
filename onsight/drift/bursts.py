"""Bursts in a window: near-duplicate images that one client sent in quick succession count as one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from onsight.drift.sample import DriftSample

__all__ = ["near_duplicate_distance", "thin_bursts"]

Array = NDArray[np.float64]

# Two different images of the reference are as close as near-duplicates with this probability. More would thin rows that
# are no frames, and so change the window's mix; less would leave frames in, and each counts as an image of its own.
_CLOSE_SHARE = 0.005
_SAMPLED_ROWS = 300
# A client may send the images of several cameras in turns: this many of its bursts stay open at a time. Each is a
# chance more that two different images are taken for frames: with 8, one row in 27 of the demo is thinned for nothing.
_OPEN_BURSTS = 8
# Spreads are divided by it: of 1, 2 and 4 it left the fewest frames of unusual scenes in quiet windows.
_STEEPNESS = 4.0


@dataclass(eq=False)
class _Burst:
    """One of a client's bursts that may go on: when it began, its first and its last row."""

    began_s: float
    first: int
    last: int


def near_duplicate_distance(reference: Array, seed: int) -> float:
    """How close two images' features are that are taken for frames of the same scene.

    Args:
        reference: [R, D], features on comparable scales.
        seed: Of the rows that are looked at.
    """
    some = reference[np.random.default_rng(seed).permutation(len(reference))[:_SAMPLED_ROWS]]
    distances = pdist(some)
    return float(np.quantile(distances, _CLOSE_SHARE)) if len(distances) else 0.0


def thin_bursts(window: DriftSample, reference: Array, burst_s: float, seed: int) -> NDArray[np.intp]:
    """One row of each burst: the first.

    A row belongs to a burst of its client if it is near the burst's first or last row in the features' space and came
    within ``burst_s`` of the first. The limit in time lets a camera that shows the same picture for hours be noticed.

    Args:
        window: Rows in any order, with clients and times; without them nothing is thinned.
        reference: [R, D] UAE features that set the scale.
        burst_s: How long a burst lasts at most, seconds.
        seed: Of the rows that set the distance.

    Returns:
        Ascending indices of the rows that are kept.
    """
    if not window.clients or not len(window.created_at_s):
        return np.arange(len(window), dtype=np.intp)
    known, features = _evened(reference, window.uae_feats)
    limit = near_duplicate_distance(known, seed)
    kept: list[int] = []
    open_bursts: dict[str, list[_Burst]] = defaultdict(list)
    for row in np.argsort(window.created_at_s, kind="stable").tolist():
        bursts, now_s = open_bursts[window.clients[row]], float(window.created_at_s[row])
        bursts[:] = [burst for burst in bursts if now_s - burst.began_s <= burst_s][-_OPEN_BURSTS:]
        joined = _joined(bursts, features, row, limit)
        if joined is None:
            kept.append(row)
            bursts.append(_Burst(now_s, row, row))
        else:
            joined.last = row
            # The ones that go on stay open longest.
            bursts.remove(joined)
            bursts.append(joined)
    return np.sort(np.array(kept, dtype=np.intp))


def _evened(reference: Array, window: Array) -> tuple[Array, Array]:
    """Both sets' features, so scaled that the frames of an unusual scene lie as close together as those of a usual one.

    What moves a feature between two frames moves a large value more: in units of the spread alone, the frames of a
    scene that is like no other are too far apart to be thinned, and a few of them look like drift. The inverse
    hyperbolic sine is linear near the middle and logarithmic far from it. Middle and spread are those of both sets,
    each half: a window that has moved as a whole lies as far from the middle as the reference does.
    """
    middle = (reference.mean(axis=0) + window.mean(axis=0)) / 2
    spread = np.sqrt((((reference - middle) ** 2).mean(axis=0) + ((window - middle) ** 2).mean(axis=0)) / 2)
    scale = np.where(spread > 0, spread, 1.0) / _STEEPNESS
    return np.arcsinh((reference - middle) / scale), np.arcsinh((window - middle) / scale)


def _joined(bursts: list[_Burst], features: Array, row: int, limit: float) -> _Burst | None:
    """The one that has been open longest of those whose first or last row is like this one."""
    if not bursts:
        return None
    apart = features[[end for burst in bursts for end in (burst.first, burst.last)]] - features[row]
    is_near = np.einsum("ij,ij->i", apart, apart) <= limit * limit
    return bursts[int(is_near.argmax()) // 2] if is_near.any() else None
