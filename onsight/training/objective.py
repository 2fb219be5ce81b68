"""What a network is trained for: the loss that fits its classifier type, optimizer, schedule, and what is frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from onsight.config import Hparams, ModelConfig
from onsight.training.architectures import FEATURES_LAYER
from onsight.training.losses import balanced_loss

__all__ = ["Objective", "freeze"]

_WARMUP_SHARE = 0.1
_WARMUP_START = 0.01  # of the learning rate


@dataclass(frozen=True)
class Objective:
    """What training minimises, and by which optimizer.

    Attributes:
        model: Its classifier type chooses the loss.
        hparams: Optimizer, schedule, class weights and label smoothing.
        labels: Of the training images, float32 [N, C]; balanced class weights come from their counts.
    """

    model: ModelConfig
    hparams: Hparams
    labels: NDArray[np.float32]

    def compile(self, network: keras.Model, learning_rate: float, steps: int) -> None:
        """Give a network its loss, a fresh optimizer and metrics.

        Args:
            network: Compiled in place.
            learning_rate: The schedule's highest.
            steps: Over which a cosine schedule rises and falls.
        """
        is_multi_class = self.model.classifier_type == "multi-class"
        metric = keras.metrics.CategoricalAccuracy if is_multi_class else keras.metrics.BinaryAccuracy
        network.compile(
            optimizer=_optimizer(self.hparams, learning_rate, steps),
            loss=self._loss(),
            metrics=[metric(name="accuracy")],
            jit_compile=False,  # XLA needs longer to compile such a network than a short training takes
        )

    def _loss(self) -> keras.losses.Loss:
        smoothing = self.hparams.label_smoothing
        if self.hparams.class_weights == "balanced":
            return balanced_loss(self.model.classifier_type, self.labels, smoothing)
        if self.model.classifier_type == "multi-class":
            return keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        return keras.losses.BinaryCrossentropy(label_smoothing=smoothing)


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


def _optimizer(hparams: Hparams, learning_rate: float, steps: int) -> keras.Optimizer:
    schedule = _cosine(learning_rate, steps) if hparams.lr_schedule == "cosine" else learning_rate
    if hparams.optimizer == "adamw":
        return keras.optimizers.AdamW(schedule, weight_decay=hparams.weight_decay)
    if hparams.optimizer == "sgd":
        return keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    return keras.optimizers.Adam(schedule)


def _cosine(learning_rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    # Adam's first steps, before it knows how large the gradients are, would tear pretrained weights apart: they are
    # small.
    warmup_steps = round(steps * _WARMUP_SHARE)
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        learning_rate * _WARMUP_START, steps - warmup_steps, warmup_target=learning_rate, warmup_steps=warmup_steps
    )
