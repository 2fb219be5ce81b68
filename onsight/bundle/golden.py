"""Golden images: a few inputs with the answers of the trained network, replayed before a bundle takes traffic."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onsight.bundle.classifier import OnnxClassifier
from onsight.errors import BundleError

__all__ = ["GoldenImages", "read_golden", "replay", "write_golden"]

# Other processors and other versions of ONNX Runtime round differently; a wrong graph is further off than this.
_TOLERANCE = 5e-3


@dataclass(frozen=True)
class GoldenImages:
    """Inputs and the trained network's answers.

    Attributes:
        images: uint8 [M, H, W, 3], RGB.
        probabilities: float32 [M, C].
    """

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


def write_golden(golden: GoldenImages, path: Path) -> None:
    """Write ``golden.npz``."""
    np.savez_compressed(path, images=golden.images, probabilities=golden.probabilities)


def read_golden(path: Path) -> GoldenImages:
    """Read ``golden.npz``; nothing is unpickled.

    Raises:
        BundleError: It is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return GoldenImages(arrays["images"], arrays["probabilities"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"the golden images {path} cannot be read: {error}", hint="publish it again") from error


def replay(classifier: OnnxClassifier, golden: GoldenImages, name: str) -> None:
    """Run the golden images through the graph.

    Raises:
        BundleError: An answer differs from the trained network's.
    """
    try:
        probabilities = classifier.run(golden.images).probabilities
    except Exception as error:  # ONNX Runtime's own errors share no base class but this one
        raise BundleError(f"the golden images of {name} do not fit its graph: {error}") from error
    if probabilities.shape != golden.probabilities.shape:
        raise BundleError(
            f"{name} answers {list(probabilities.shape)} probabilities, its golden outputs are "
            f"{list(golden.probabilities.shape)}"
        )
    difference = float(np.abs(probabilities - golden.probabilities).max())
    if not difference <= _TOLERANCE:
        raise BundleError(
            f"{name} does not replay its golden outputs: off by {difference:.4f}, {_TOLERANCE} allowed",
            hint="the graph is not the one that was published; publish it again",
        )
