"""The input pipeline: decoded once, shuffled and augmented the same way for the same seed and epoch."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from onsight.domain import Split
from onsight.errors import OnsightError
from onsight.images import load_image
from onsight.training.augmentation import Augmentation

__all__ = ["ImageSource", "TrainingBatches", "plain_batches"]

_CACHE_BUDGET_BYTES = 2 << 30
_AHEAD_PER_WORKER = 2
_Batch = tuple[NDArray[np.uint8], NDArray[np.float32]]


class ImageSource:
    """The decoded images of a split: kept in memory if they fit a budget, else decoded at each use.

    Args:
        split: The images.
        width: Of the network's input, pixels.
        height: Of the network's input, pixels.
        budget_bytes: Decoded images larger than this together are not kept.

    Raises:
        ImageError: An image cannot be read; at once where images are kept, else from ``images``.
    """

    def __init__(self, split: Split, width: int, height: int, budget_bytes: int = _CACHE_BUDGET_BYTES) -> None:
        self.split = split
        self.width, self.height = width, height
        self._failure: OnsightError | None = None
        self.is_kept = len(split) * width * height * 3 <= budget_bytes
        self._kept = self._decode(np.arange(len(split))) if self.is_kept else None

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images uint8 [len(rows), height, width, 3]."""
        return self._decode(rows) if self._kept is None else self._kept[rows]

    @contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raise what went wrong in ``images``, where TensorFlow would raise its own error with ours as text."""
        try:
            yield
        except tf.errors.OpError as error:
            if self._failure is None:
                raise
            raise self._failure from error

    def _decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        decoded = np.empty((len(rows), self.height, self.width, 3), np.uint8)

        def load(position: int) -> None:
            decoded[position] = load_image(self.split.paths[rows[position]], self.width, self.height)

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            try:
                for _ in threads.map(load, range(len(rows))):
                    pass
            except OnsightError as error:
                self._failure = error
                threads.shutdown(cancel_futures=True)
                raise
        return decoded


@dataclass(frozen=True)
class TrainingBatches:
    """What each epoch of training sees.

    Attributes:
        workers: Batches prepared at once beside training.
    """

    source: ImageSource
    augmentation: Augmentation
    batch_size: int
    seed: int
    workers: int

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return math.ceil(len(self.source.split) / self.batch_size)

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """Batches (images uint8 [B, H, W, 3], labels float32 [B, C]) of one epoch.

        Order and augmentation depend on the seed and the epoch alone, so that a resumed run sees what an uninterrupted
        one would have seen.
        """
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.source.split))

        def prepare(step: int) -> _Batch:
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            seed = int(np.random.SeedSequence((self.seed, epoch, step)).generate_state(1)[0]) % (2**31 - 1)
            return self.augmentation(self.source.images(rows), seed), self.source.split.labels[rows]

        return _dataset(prepare, self.steps, self.source, self.workers)


def plain_batches(source: ImageSource, batch_size: int) -> tf.data.Dataset:
    """Batches (images uint8, labels) in the split's order, not augmented: for validation."""
    labels = source.split.labels

    def prepare(step: int) -> _Batch:
        rows = np.arange(len(labels))[step * batch_size : (step + 1) * batch_size]
        return source.images(rows), labels[rows]

    return _dataset(prepare, math.ceil(len(labels) / batch_size), source, workers=1)


def _dataset(prepare: Callable[[int], _Batch], steps: int, source: ImageSource, workers: int) -> tf.data.Dataset:
    """Run ``prepare`` for each step, several steps ahead, in order.

    The threads are ours: a parallel ``map`` of Python code is made sequential by TensorFlow when its operations have
    to be deterministic, as in training.
    """

    def generate() -> Iterator[_Batch]:
        with ThreadPoolExecutor(workers) as threads:
            ahead = deque(threads.submit(prepare, step) for step in range(min(steps, workers * _AHEAD_PER_WORKER)))
            try:
                for step in range(len(ahead), steps + len(ahead)):
                    yield ahead.popleft().result()
                    if step < steps:
                        ahead.append(threads.submit(prepare, step))
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    signature = (
        tf.TensorSpec((None, source.height, source.width, 3), tf.uint8),
        tf.TensorSpec((None, source.split.labels.shape[1]), tf.float32),
    )
    batches = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)
