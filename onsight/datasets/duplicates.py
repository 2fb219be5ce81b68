"""Finds photographs of the same thing: a perceptual hash proposes pairs, a correlation of thumbnails confirms them.

A hash alone is not enough where all pictures of a data set look alike (product photographs in one fixture, cells of one
kind): it then answers to what they share. So the confirmation first takes out the directions in which the data set's
thumbnails vary most, and compares what is left, which is particular to a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Fingerprint", "connected", "fingerprint", "near_duplicates"]

HASH_BITS = 128
THUMBNAIL_SIDE = 32
_SAMPLES = 64
_FREQUENCIES = 16
_FLAT = 1.0  # a thumbnail whose grey levels deviate less than this shows nothing that could be compared
_MIN_CORRELATION = 0.9
_MAX_COMMON_DIRECTIONS = 32
_IMAGES_PER_DIRECTION = 20
_BLOCK = 2048

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Fingerprint:
    """What two pictures are compared by.

    Attributes:
        bits: bool [128]; the signs of the lowest frequencies of the discrete cosine transform (pHash).
        thumbnail: uint8 [32, 32], grey.
    """

    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.uint8]


def fingerprint(image_rgb_hwc: NDArray[np.uint8]) -> Fingerprint:
    """The fingerprint of an image, uint8 [H, W, 3]; size and compression hardly change it."""
    grey = Image.fromarray(image_rgb_hwc).convert("L")
    samples = np.asarray(grey.resize((_SAMPLES, _SAMPLES), Image.Resampling.BOX), dtype=np.float64)
    basis, lowest = _cosines()
    thumbnail = np.array(grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX), dtype=np.uint8)
    return Fingerprint((basis @ samples @ basis.T).ravel()[lowest] > 0, thumbnail)


def near_duplicates(
    bits: NDArray[np.bool_], thumbnails: NDArray[np.uint8], parts: NDArray[np.int64], max_bits: int
) -> list[tuple[int, int]]:
    """Find pairs of near duplicates that lie in different parts.

    Args:
        bits: bool [N, 128], of the fingerprints.
        thumbnails: uint8 [N, 32, 32], of the fingerprints.
        parts: int64 [N]; pairs within one part are not looked for (splits; or 0 .. N-1 to find all pairs).
        max_bits: Hashes that differ in more bits are no candidates.

    Returns:
        Pairs of row numbers, the smaller first, in order.
    """
    if len(bits) < 2:  # noqa: PLR2004
        return []
    pairs = _close_hashes(bits, parts, max_bits)
    flat = thumbnails.reshape(len(thumbnails), -1).std(axis=1) < _FLAT
    pairs = pairs[~flat[pairs].any(axis=1)]
    rest = _particular(thumbnails.reshape(len(thumbnails), -1).astype(np.float32))
    correlation = np.einsum("ij,ij->i", rest[pairs[:, 0]], rest[pairs[:, 1]])
    return [(int(first), int(second)) for first, second in pairs[correlation >= _MIN_CORRELATION]]


def connected(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Join pairs to groups: for each of ``count`` rows the first row of its group."""
    first = list(range(count))

    def find(row: int) -> int:
        while first[row] != row:
            row = first[row]
        return row

    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        first[high] = low
    return [find(row) for row in range(count)]


@cache
def _cosines() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The transform's first rows (DCT-II, unscaled), and the places of its lowest frequencies without the mean."""
    frequencies, positions = np.arange(_FREQUENCIES)[:, None], np.arange(_SAMPLES)[None, :]
    rows, columns = np.indices((_FREQUENCIES, _FREQUENCIES)).reshape(2, -1)
    return np.cos(np.pi * frequencies * (2 * positions + 1) / (2 * _SAMPLES)), np.lexsort((rows, rows + columns))[
        1 : HASH_BITS + 1
    ]


def _close_hashes(bits: NDArray[np.bool_], parts: NDArray[np.int64], max_bits: int) -> NDArray[np.int64]:
    """Pairs within ``max_bits``: with bits as -1 and 1 a matrix product counts them, exactly, at the speed of BLAS."""
    signs = np.where(bits, np.float32(1), np.float32(-1))
    least = bits.shape[1] - 2 * max_bits
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(signs), _BLOCK):
        first, second = np.nonzero(signs[start : start + _BLOCK] @ signs[start:].T >= least)
        chosen = (first < second) & (parts[first + start] != parts[second + start])
        found.append(np.stack([first[chosen], second[chosen]], axis=1) + start)
    return np.concatenate(found)


def _particular(thumbnails: FloatArray) -> FloatArray:
    """Unit vectors of what is left of each thumbnail without the data set's leading principal components."""
    centred = _unit(thumbnails - thumbnails.mean(axis=1, keepdims=True))
    centred -= centred.mean(axis=0)
    directions = min(_MAX_COMMON_DIRECTIONS, len(thumbnails) // _IMAGES_PER_DIRECTION)
    if directions:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        common = vectors[:, -directions:]
        centred -= (centred @ common) @ common.T
    return _unit(centred)


def _unit(rows: FloatArray) -> FloatArray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatArray = rows / np.maximum(norms, np.float32(1e-6))
    return unit
