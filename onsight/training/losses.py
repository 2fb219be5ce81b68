"""Cross-entropy in which rare classes count as much as frequent ones, for both classifier types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

__all__ = ["BalancedCrossentropy", "balanced_loss"]


@keras.saving.register_keras_serializable("onsight")
class BalancedCrossentropy(keras.losses.Loss):  # type: ignore[misc]  # Keras is untyped
    """Cross-entropy weighted by class.

    Args:
        classifier_type: multi-class weighs each image by its class; multi-label weighs each of its C decisions.
        present: C weights, of an image's classes.
        absent: C weights, of the classes that an image is not of; multi-label alone uses them.
        label_smoothing: As in Keras's own losses.
        name: The loss's name.
        reduction: As in Keras's own losses.
    """

    def __init__(
        self,
        classifier_type: Literal["multi-class", "multi-label"],
        present: Sequence[float],
        absent: Sequence[float],
        label_smoothing: float = 0.0,
        name: str = "balanced_crossentropy",
        reduction: str = "sum_over_batch_size",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        self.classifier_type, self.label_smoothing = classifier_type, label_smoothing
        self.present, self.absent = list(present), list(absent)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss per image [N], from labels and probabilities [N, C]."""
        present = ops.convert_to_tensor(self.present, "float32")
        if self.classifier_type == "multi-class":
            loss = keras.losses.categorical_crossentropy(y_true, y_pred, label_smoothing=self.label_smoothing)
            return loss * ops.sum(y_true * present, axis=-1)
        weights = y_true * present + (1 - y_true) * ops.convert_to_tensor(self.absent, "float32")
        smoothed = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        return ops.mean(weights * ops.binary_crossentropy(smoothed, y_pred), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """What builds the same loss again."""
        return {
            "classifier_type": self.classifier_type,
            "present": self.present,
            "absent": self.absent,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
            "reduction": self.reduction,
        }


def balanced_loss(
    classifier_type: Literal["multi-class", "multi-label"], labels: NDArray[np.float32], label_smoothing: float
) -> BalancedCrossentropy:
    """The loss in which each class of the training labels has the same share.

    Multi-class: a class weighs N / (C * its images), over the C classes that occur. Multi-label: a class's images
    weigh N / (2 * their number), and the others N / (2 * theirs). Either way the weights are 1 on average.

    Args:
        classifier_type: What the labels mean.
        labels: Of the training images, float32 [N, C].
        label_smoothing: As in Keras's own losses.
    """
    n_images = len(labels)
    n_present = labels.sum(axis=0)
    groups = 2 if classifier_type == "multi-label" else int((n_present > 0).sum())
    present = n_images / (groups * np.maximum(n_present, 1))
    absent = n_images / (groups * np.maximum(n_images - n_present, 1))
    return BalancedCrossentropy(classifier_type, present.tolist(), absent.tolist(), label_smoothing)
