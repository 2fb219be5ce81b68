"""Class activation maps in closed form: for a network that ends in global average pooling and one dense layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onsight.errors import BundleError

__all__ = ["class_activation_map"]

_LEAST = np.float32(1e-12)


def class_activation_map(feature_maps: NDArray[np.float32], class_weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the evidence for one class lies: ``ReLU(sum_f w_f A_f)``, its largest value scaled to 1.

    This is the class activation map of Zhou et al., *Learning Deep Features for Discriminative Localization*,
    CVPR 2016, without its negative part. Grad-CAM of the class's logit is the same map up to a factor. It is all zeros
    where nothing speaks for the class.

    Args:
        feature_maps: float32 [h, w, F], before pooling.
        class_weights: float32 [F], the class's column of the classification layer.

    Returns:
        float32 [h, w], 0 to 1.

    Raises:
        BundleError: The maps and weights hold numbers that are not finite.
    """
    # Not a matrix product: BLAS would start its threads for one this small.
    evidence = np.maximum(np.einsum("hwf,f->hw", feature_maps, class_weights), 0)
    strongest = evidence.max()
    if not np.isfinite(strongest):
        raise BundleError("the network's feature maps hold numbers that are not finite")
    scaled: NDArray[np.float32] = evidence / np.maximum(strongest, _LEAST)
    return scaled
