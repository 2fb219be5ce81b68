"""Answers for image files: the same decode, resize and graph that the service uses, in bulk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onsight.bundle import OnnxClassifier
from onsight.domain import ModelOutput
from onsight.images import ImageFile, ImageProperties, load_image_file, measure_properties

__all__ = ["AnsweredFiles", "load_images", "predict_files", "predict_paths"]


@dataclass(frozen=True)
class AnsweredFiles:
    """What the graph answers for N image files, and what these are like; row i of each is the same file.

    Attributes:
        sizes: Width and height in pixels, as the headers say.
        formats: Pillow's names.
        properties: Of the pixels that the graph saw.
    """

    output: ModelOutput
    sizes: tuple[tuple[int, int], ...]
    formats: tuple[str, ...]
    properties: tuple[ImageProperties, ...]


def load_images(paths: Sequence[Path], width: int, height: int) -> NDArray[np.uint8]:
    """Decode and resize image files, in their order.

    Returns:
        uint8 [N, height, width, 3], RGB.

    Raises:
        ImageError: Naming the first file that cannot be used.
    """
    loaded = [file.pixels for file in _load_files(paths, width, height)]
    return np.stack(loaded) if loaded else np.empty((0, height, width, 3), np.uint8)


def predict_paths(classifier: OnnxClassifier, paths: Sequence[Path], batch_size: int = 64) -> ModelOutput:
    """Answer image files, unshuffled: row i belongs to ``paths[i]``. Memory is bounded by the batch.

    Raises:
        ImageError: Naming the first file that cannot be used.
        ValueError: There is no path.
    """
    return predict_files(classifier, paths, batch_size).output


def predict_files(classifier: OnnxClassifier, paths: Sequence[Path], batch_size: int = 64) -> AnsweredFiles:
    """``predict_paths``, with what the files are like, from the same pass.

    Raises:
        ImageError: Naming the first file that cannot be used.
        ValueError: There is no path.
    """
    if not paths:
        raise ValueError("there is no image to answer")
    parts = [_answer(classifier, files) for files in _batches(classifier, paths, batch_size)]
    outputs = [part.output for part in parts]
    return AnsweredFiles(
        output=ModelOutput(
            probabilities=np.concatenate([output.probabilities for output in outputs]),
            uae_features=np.concatenate([output.uae_features for output in outputs]),
            bbsd_features=np.concatenate([output.bbsd_features for output in outputs]),
            activation_map=np.concatenate([output.activation_map for output in outputs]),
        ),
        sizes=tuple(size for part in parts for size in part.sizes),
        formats=tuple(name for part in parts for name in part.formats),
        properties=tuple(one for part in parts for one in part.properties),
    )


def _answer(classifier: OnnxClassifier, files: Sequence[ImageFile]) -> AnsweredFiles:
    images = np.stack([file.pixels for file in files])
    return AnsweredFiles(
        output=classifier.run(images),
        sizes=tuple((file.width, file.height) for file in files),
        formats=tuple(file.format for file in files),
        properties=tuple(measure_properties(images)),
    )


def _batches(classifier: OnnxClassifier, paths: Sequence[Path], batch_size: int) -> Iterator[list[ImageFile]]:
    for start in range(0, len(paths), batch_size):
        yield _load_files(paths[start : start + batch_size], classifier.input_width, classifier.input_height)


def _load_files(paths: Sequence[Path], width: int, height: int) -> list[ImageFile]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(lambda path: load_image_file(path, width, height), paths))
