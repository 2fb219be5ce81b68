"""``explain.npz``: the classification layer's weights, from which an activation map for any class is made."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onsight.bundle.classifier import OnnxClassifier
from onsight.errors import BundleError

__all__ = ["Explainer", "read_explainer", "write_explainer"]

_MATRIX_RANK = 2


@dataclass(frozen=True)
class Explainer:
    """What explaining an answer takes, beside the graph's feature maps.

    Attributes:
        class_weights: float32 [F, C], the kernel of the classification layer.
    """

    class_weights: NDArray[np.float32]


def write_explainer(class_weights: NDArray[np.float32], path: Path) -> None:
    """Write ``explain.npz``.

    Raises:
        BundleError: They are no finite [F, C] matrix.
    """
    weights = np.asarray(class_weights, np.float32)
    if weights.ndim != _MATRIX_RANK or not np.isfinite(weights).all():
        raise BundleError(f"class weights are a finite [F, C] matrix, not of shape {list(weights.shape)}")
    np.savez_compressed(path, class_weights=weights)


def read_explainer(path: Path, classifier: OnnxClassifier, name: str) -> Explainer:
    """Read ``explain.npz``; nothing is unpickled.

    Raises:
        BundleError: It is damaged, or of another graph.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            weights = arrays["class_weights"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"the class weights {path} cannot be read: {error}", hint="publish it again") from error
    expected = (classifier.n_features, classifier.n_classes)
    if weights.shape != expected or weights.dtype != np.float32 or not np.isfinite(weights).all():
        raise BundleError(
            f"the class weights of {name} are {weights.dtype} {list(weights.shape)}, its graph has feature maps and "
            f"classes {list(expected)}",
            hint="publish it again",
        )
    return Explainer(weights)
