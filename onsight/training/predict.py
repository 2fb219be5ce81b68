"""What a trained network says of image files, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from onsight.domain import Split
from onsight.training.pipeline import ImageSource

__all__ = ["predict_probabilities"]


def predict_probabilities(network: keras.Model, paths: Sequence[Path], batch_size: int = 64) -> NDArray[np.float32]:
    """Probabilities of image files, unshuffled: row i belongs to ``paths[i]``.

    Args:
        network: As ``train_classifier`` left it.
        paths: N image files.
        batch_size: Images decoded and answered at once.

    Returns:
        float32 [N, C].

    Raises:
        ImageError: Naming the first file that cannot be used.
    """
    _, height, width, _ = network.input_shape
    unlabelled = Split("", tuple(paths), np.zeros((len(paths), 1), np.float32))
    source = ImageSource(unlabelled, width, height, budget_bytes=0)
    rows = np.arange(len(paths))
    batches = [source.images(rows[start : start + batch_size]) for start in range(0, len(paths), batch_size)]
    return np.concatenate([np.asarray(network.predict_on_batch(images), np.float32) for images in batches])
