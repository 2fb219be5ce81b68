"""The input pipeline: decoded once, shuffled and augmented the same way for the same seed and epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from onsight.domain import Split
from onsight.images import load_image
from onsight.training.augmentation import Augmentation

__all__ = ["ImageSource", "TrainingBatches", "plain_batches"]

_CACHE_BUDGET_BYTES = 2 << 30


class ImageSource:
    """The decoded images of a split: kept in memory if they fit a budget, else decoded at each use.

    Args:
        split: The images.
        width: Of the network's input, pixels.
        height: Of the network's input, pixels.
        budget_bytes: Decoded images larger than this together are not kept.
    """

    def __init__(self, split: Split, width: int, height: int, budget_bytes: int = _CACHE_BUDGET_BYTES) -> None:
        self.split = split
        self.width, self.height = width, height
        fits = len(split) * width * height * 3 <= budget_bytes
        self._kept = self._decode(np.arange(len(split))) if fits else None

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images uint8 [len(rows), height, width, 3]."""
        return self._decode(rows) if self._kept is None else self._kept[rows]

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        decoded = np.empty((len(rows), self.height, self.width, 3), np.uint8)

        def load(position: int) -> None:
            decoded[position] = load_image(self.split.paths[rows[position]], self.width, self.height)

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for _ in threads.map(load, range(len(rows))):
                pass
        return decoded


@dataclass(frozen=True)
class TrainingBatches:
    """What each epoch of training sees.

    Attributes:
        row_weights: float32 [N], the weight of each image in the loss.
        workers: Batches prepared at once beside training.
    """

    source: ImageSource
    augmentation: Augmentation
    row_weights: NDArray[np.float32]
    batch_size: int
    seed: int
    workers: int

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return math.ceil(len(self.source.split) / self.batch_size)

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """Batches (images uint8, labels, weights) of one epoch.

        Order and augmentation depend on the seed and the epoch alone, so that a resumed run sees what an uninterrupted
        one would have seen.
        """
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.source.split))

        def prepare(step: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
            rows = order[int(step) * self.batch_size : (int(step) + 1) * self.batch_size]
            seed = int(np.random.SeedSequence((self.seed, epoch, int(step))).generate_state(1)[0]) % (2**31 - 1)
            images = self.augmentation(self.source.images(rows), seed)
            return images, self.source.split.labels[rows], self.row_weights[rows]

        call = _tensors_of(prepare, self.source, n_parts=3)
        batches = tf.data.Dataset.range(self.steps).map(call, num_parallel_calls=self.workers, deterministic=True)
        return batches.prefetch(self.workers)


def plain_batches(source: ImageSource, batch_size: int) -> tf.data.Dataset:
    """Batches (images uint8, labels) in the split's order, not augmented: for validation."""
    labels = source.split.labels

    def prepare(start: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rows = np.arange(int(start), min(int(start) + batch_size, len(labels)))
        return source.images(rows), labels[rows]

    return tf.data.Dataset.range(0, len(labels), batch_size).map(_tensors_of(prepare, source, n_parts=2)).prefetch(2)


def _tensors_of(
    prepare: Callable[[NDArray[np.int64]], tuple[NDArray[Any], ...]], source: ImageSource, n_parts: int
) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """A TensorFlow function that runs ``prepare``; its parts are images, labels and, as a third, weights."""
    types = (tf.uint8, tf.float32, tf.float32)[:n_parts]
    shapes = ((None, source.height, source.width, 3), (None, source.split.labels.shape[1]), (None,))[:n_parts]

    def call(position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        parts = tf.numpy_function(prepare, [position], types)
        return tuple(tf.ensure_shape(part, shape) for part, shape in zip(parts, shapes, strict=True))

    return call
