"""Golden images: a few inputs with the answers that are known to be right, replayed before a bundle takes traffic."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onsight.bundle.classifier import OnnxClassifier
from onsight.domain import Variant
from onsight.errors import BundleError

__all__ = ["GoldenImages", "read_golden", "replay", "write_golden"]

# Other processors and other versions of ONNX Runtime round differently; a wrong graph is further off than this.
# In int8 what rounds the other way is off by a whole step of 1/256 of a layer's range.
_TOLERANCES: dict[Variant, float] = {"fp32": 5e-3, "int8": 2e-2}


@dataclass(frozen=True)
class GoldenImages:
    """Inputs and the right answers: the trained network's, or the int8 graph's own.

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


def replay(classifier: OnnxClassifier, golden: GoldenImages, name: str, variant: Variant = "fp32") -> None:
    """Run the golden images through the graph.

    Raises:
        BundleError: An answer differs from the golden one.
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
    tolerance = _TOLERANCES[variant]
    if not difference <= tolerance:
        raise BundleError(
            f"{name} does not replay its golden outputs: off by {difference:.4f}, {tolerance} allowed",
            hint="the graph is not the one that was published; publish it again",
        )
