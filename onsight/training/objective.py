"""What a network is trained for: the loss that fits its classifier type, optimizer, schedule, and what is frozen."""

from __future__ import annotations

import math

import keras
import numpy as np
from numpy.typing import NDArray

from onsight.config import Hparams, ModelConfig
from onsight.training.architectures import FEATURES_LAYER

__all__ = ["balanced_row_weights", "compile_network", "freeze"]


def compile_network(
    network: keras.Model, model: ModelConfig, hparams: Hparams, learning_rate: float, steps: int
) -> None:
    """Give a network its loss, optimizer and metrics.

    Args:
        network: Compiled in place.
        model: Its classifier type chooses the loss.
        hparams: Optimizer, schedule and label smoothing.
        learning_rate: At the first step.
        steps: Over which a cosine schedule falls to zero.
    """
    if model.classifier_type == "multi-class":
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=hparams.label_smoothing)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    else:
        loss = keras.losses.BinaryCrossentropy(label_smoothing=hparams.label_smoothing)
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy")
    network.compile(
        optimizer=_optimizer(hparams, learning_rate, steps), loss=loss, metrics=[accuracy], jit_compile=False
    )


def _optimizer(hparams: Hparams, learning_rate: float, steps: int) -> keras.Optimizer:
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    schedule = rate if hparams.lr_schedule == "cosine" else learning_rate
    if hparams.optimizer == "adamw":
        return keras.optimizers.AdamW(schedule, weight_decay=hparams.weight_decay)
    if hparams.optimizer == "sgd":
        return keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    return keras.optimizers.Adam(schedule)


def freeze(network: keras.Model, *, unfrozen_share: float, pretrained: bool) -> None:
    """Choose which layers learn: the head always, and the last ``unfrozen_share`` of the backbone's layers.

    In a pretrained backbone, batch normalisation keeps the statistics it came with: those of a few small batches are
    worse than those of the images it was trained on.
    """
    names = [layer.name for layer in network.layers]
    backbone = [layer for layer in network.layers[: names.index(FEATURES_LAYER)] if layer.weights]
    first_unfrozen = len(backbone) - math.ceil(unfrozen_share * len(backbone))
    for position, layer in enumerate(backbone):
        keeps_statistics = pretrained and isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= first_unfrozen and not keeps_statistics


def balanced_row_weights(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights that give every class the same share of the loss: N / (C * images of the row's class).

    Args:
        labels: One-hot float32 [N, C].

    Returns:
        float32 [N], 1 on average.
    """
    counts = labels.sum(axis=0)
    present = counts > 0
    per_class = np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0)
    return np.asarray(labels @ per_class, dtype=np.float32)
