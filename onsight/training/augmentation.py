"""Augmentation by imgaug, configured in YAML; the one module that knows the library."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onsight.config import Augmenter
from onsight.errors import ConfigError

__all__ = ["Augmentation"]

# imgaug 0.4.0 reads names that numpy has dropped since. What numpy still has is left alone.
_DROPPED_BY_NUMPY = {
    "bool": bool,
    "complex": complex,
    "sctypes": {
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64],
    },
}


def _imgaug_augmenters() -> Any:  # noqa: ANN401 - the library is untyped
    for name, value in _DROPPED_BY_NUMPY.items():
        if name not in np.__dict__:
            setattr(np, name, value)
    from imgaug import augmenters

    return augmenters


class Augmentation:
    """A chain of augmenters that gives the same images for the same seed. Safe to call from several threads.

    Args:
        chain: Augmenters with their arguments, applied in this order.

    Raises:
        ConfigError: An augmenter does not take its arguments; all such problems at once.
    """

    def __init__(self, chain: Sequence[Augmenter]) -> None:
        self._chain = tuple(chain)
        # imgaug keeps its random state inside the augmenters, so each thread has its own.
        self._per_thread = threading.local()
        self._per_thread.sequence = self._build()

    def __call__(self, images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Augment a batch uint8 [N, H, W, 3]; the same seed and images give the same result."""
        if not self._chain:
            return images
        if not hasattr(self._per_thread, "sequence"):
            self._per_thread.sequence = self._build()
        sequence = self._per_thread.sequence
        sequence.seed_(seed)
        augmented: NDArray[np.uint8] = sequence.augment_images(images)
        return augmented

    def _build(self) -> Any:  # noqa: ANN401
        augmenters = _imgaug_augmenters()
        built, problems = [], []
        for index, item in enumerate(self._chain):
            try:
                augmenter = getattr(augmenters, item.name)(**item.args)
            except Exception as error:  # noqa: BLE001 - imgaug raises AssertionError, TypeError, plain Exception, ...
                problems.append(f"train.augmentation.{index}: {item.name} does not take {item.args}: {error}")
                continue
            built.append(augmenter if item.probability == 1 else augmenters.Sometimes(item.probability, augmenter))
        if problems:
            lines = "".join(f"\n  {problem}" for problem in problems)
            raise ConfigError(f"the augmentation cannot be built{lines}", problems=problems)
        return augmenters.Sequential(built)
