"""Answers for image files: the same decode, resize and graph that the service uses, in bulk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onsight.bundle import OnnxClassifier
from onsight.domain import ModelOutput
from onsight.images import load_image

__all__ = ["load_images", "predict_paths"]


def load_images(paths: Sequence[Path], width: int, height: int) -> NDArray[np.uint8]:
    """Decode and resize image files, in their order.

    Returns:
        uint8 [N, height, width, 3], RGB.

    Raises:
        ImageError: Naming the first file that cannot be used.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        loaded = list(threads.map(lambda path: load_image(path, width, height), paths))
    return np.stack(loaded) if loaded else np.empty((0, height, width, 3), np.uint8)


def predict_paths(classifier: OnnxClassifier, paths: Sequence[Path], batch_size: int = 64) -> ModelOutput:
    """Answer image files, unshuffled: row i belongs to ``paths[i]``. Memory is bounded by the batch.

    Raises:
        ImageError: Naming the first file that cannot be used.
        ValueError: There is no path.
    """
    if not paths:
        raise ValueError("there is no image to answer")
    outputs = [classifier.run(images) for images in _batches(classifier, paths, batch_size)]
    return ModelOutput(
        probabilities=np.concatenate([output.probabilities for output in outputs]),
        uae_features=np.concatenate([output.uae_features for output in outputs]),
        bbsd_features=np.concatenate([output.bbsd_features for output in outputs]),
        activation_map=np.concatenate([output.activation_map for output in outputs]),
    )


def _batches(classifier: OnnxClassifier, paths: Sequence[Path], batch_size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(paths), batch_size):
        yield load_images(paths[start : start + batch_size], classifier.input_width, classifier.input_height)
