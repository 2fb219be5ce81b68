"""One parallel pass over all images of a data set: what the checks need to know of each."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onsight.datasets.duplicates import fingerprint
from onsight.domain import DatasetVersion
from onsight.errors import ImageError
from onsight.images import decode_image

__all__ = ["PROPERTIES", "DatasetFacts", "gather_facts", "measure"]

# brightness, contrast and the colour means are in 0..1, blur is the variance of the Laplacian of the grey image
# at 128 x 128 pixels: low means blurred.
PROPERTIES = ("width", "height", "aspect", "brightness", "contrast", "saturation", "red", "green", "blue", "blur")
EMBEDDING_SIDE = 16
_COLOUR_SIDE = 64
_BLUR_SIDE = 128


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of the N images that can be read, split after split, each in the annotations' order.

    Attributes:
        names: Paths relative to the data set's root.
        splits: The split's name of each.
        labels: float32 [N, C].
        digests: Of the files' content.
        properties: float64 [N, 10], in the order of ``PROPERTIES``.
        hashes: bool [N, 128], see ``onsight.datasets.duplicates``.
        thumbnails: uint8 [N, 32, 32], grey.
        embeddings: uint8 [N, 768], the image at 16 x 16 pixels.
        unreadable: Images that cannot be read, with the reason.
    """

    names: tuple[str, ...]
    splits: NDArray[np.str_]
    labels: NDArray[np.float32]
    digests: tuple[str, ...]
    properties: NDArray[np.float64]
    hashes: NDArray[np.bool_]
    thumbnails: NDArray[np.uint8]
    embeddings: NDArray[np.uint8]
    unreadable: dict[str, str]

    def column(self, name: str) -> NDArray[np.float64]:
        """One property of all images, float64 [N]."""
        return self.properties[:, PROPERTIES.index(name)]


@dataclass(frozen=True)
class _ImageFacts:
    digest: str
    properties: tuple[float, ...]
    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.uint8]
    embedding: NDArray[np.uint8]


def gather_facts(dataset: DatasetVersion) -> DatasetFacts:
    """Read every image once, in as many threads as there are cores."""
    rows = [
        (split.name, path, labels)
        for split in dataset.splits.values()
        for path, labels in zip(split.paths, split.labels, strict=True)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = list(pool.map(_look, [path for _, path, _ in rows]))
    names = [path.relative_to(dataset.root).as_posix() for _, path, _ in rows]
    good = [
        (name, row, facts) for name, row, facts in zip(names, rows, answers, strict=True) if not isinstance(facts, str)
    ]
    n = len(good)
    return DatasetFacts(
        names=tuple(name for name, _, _ in good),
        splits=np.array([row[0] for _, row, _ in good], dtype=np.str_),
        labels=np.array([row[2] for _, row, _ in good], np.float32).reshape(n, len(dataset.classes)),
        digests=tuple(facts.digest for _, _, facts in good),
        properties=np.array([facts.properties for _, _, facts in good], np.float64).reshape(n, len(PROPERTIES)),
        hashes=np.array([facts.bits for _, _, facts in good], np.bool_).reshape(n, -1),
        thumbnails=np.array([facts.thumbnail for _, _, facts in good], np.uint8),
        embeddings=np.array([facts.embedding for _, _, facts in good], np.uint8).reshape(n, 3 * EMBEDDING_SIDE**2),
        unreadable={name: facts for name, facts in zip(names, answers, strict=True) if isinstance(facts, str)},
    )


def measure(image_rgb_hwc: NDArray[np.uint8]) -> tuple[float, ...]:
    """The properties of an image, in the order of ``PROPERTIES``.

    Args:
        image_rgb_hwc: uint8 [H, W, 3].
    """
    height, width, _ = image_rgb_hwc.shape
    image = Image.fromarray(image_rgb_hwc)
    small = np.asarray(image.resize((_COLOUR_SIDE, _COLOUR_SIDE), Image.Resampling.BOX), dtype=np.float64) / 255
    most, least = small.max(axis=2), small.min(axis=2)
    saturation = np.divide(most - least, most, out=np.zeros_like(most), where=most > 0)
    luma = small @ np.array([0.299, 0.587, 0.114])
    grey = image.convert("L").resize((_BLUR_SIDE, _BLUR_SIDE), Image.Resampling.BILINEAR)
    red, green, blue = small.mean(axis=(0, 1)).tolist()
    return (
        float(width),
        float(height),
        width / height,
        float(luma.mean()),
        float(luma.std()),
        float(saturation.mean()),
        red,
        green,
        blue,
        _laplacian_variance(np.asarray(grey, dtype=np.float64)),
    )


def _laplacian_variance(grey: NDArray[np.float64]) -> float:
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(laplacian.var())


def _look(path: Path) -> _ImageFacts | str:
    """The facts of one image, or the reason why it cannot be read."""
    try:
        content = path.read_bytes()
        image = decode_image(content)
    except ImageError as error:
        return error.message
    except OSError as error:
        return error.strerror or str(error)
    marks = fingerprint(image)
    small = Image.fromarray(image).resize((EMBEDDING_SIDE, EMBEDDING_SIDE), Image.Resampling.BOX)
    digest = hashlib.sha256(content).hexdigest()
    return _ImageFacts(digest, measure(image), marks.bits, marks.thumbnail, np.asarray(small, dtype=np.uint8).ravel())
