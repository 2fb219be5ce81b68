"""Losses by hand, what is frozen, and what batch normalisation keeps."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from onsight.config import Hparams
from onsight.training import FEATURES_LAYER, build_classifier
from onsight.training.losses import BalancedCrossentropy, balanced_loss
from onsight.training.objective import Objective, freeze
from tests.servers.training import SIDE, model_config

MULTI_LABEL = {"classifier_type": "multi-label", "classifier_activation": "sigmoid"}
ONE_HOT = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
SEVERAL = np.array([[1, 1], [0, 1], [0, 1], [0, 0]], np.float32)
PROBABILITIES = np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [0.8, 0.2]], np.float32)
IMAGES = np.random.default_rng(2).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)


def _loss(labels: np.ndarray, model: dict[str, object], **hparams: object) -> float:  # type: ignore[type-arg]
    """The loss that a compiled network reports for ``PROBABILITIES``."""
    objective = Objective(model_config(**model), Hparams.model_validate(hparams), labels)
    network = build_classifier(model_config(**model), seed=1)
    objective.compile(network, 1e-3, steps=10)
    return float(network.compute_loss(x=None, y=labels, y_pred=PROBABILITIES))


def _bce(labels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return -(labels * np.log(PROBABILITIES) + (1 - labels) * np.log(1 - PROBABILITIES))


def test_loss_when_multi_class_then_is_categorical() -> None:
    expected = -np.log(PROBABILITIES[ONE_HOT == 1]).mean()
    assert _loss(ONE_HOT, {}) == pytest.approx(expected, rel=1e-5)


def test_loss_when_multi_label_then_is_binary() -> None:
    assert _loss(SEVERAL, MULTI_LABEL) == pytest.approx(_bce(SEVERAL).mean(), rel=1e-5)


def test_loss_when_multi_class_is_balanced_then_each_class_has_half() -> None:
    each = -np.log(PROBABILITIES[ONE_HOT == 1])
    weights = np.array([4 / (2 * 1), 4 / (2 * 3), 4 / (2 * 3), 4 / (2 * 3)])
    assert weights.mean() == pytest.approx(1)
    assert _loss(ONE_HOT, {}, class_weights="balanced") == pytest.approx((weights * each).mean(), rel=1e-5)


def test_loss_when_multi_label_is_balanced_then_positives_have_half_of_each_class() -> None:
    weights = np.array([[4 / 2, 4 / 6], [4 / 6, 4 / 6], [4 / 6, 4 / 6], [4 / 6, 4 / 2]])
    expected = (weights * _bce(SEVERAL)).mean()
    assert _loss(SEVERAL, MULTI_LABEL, class_weights="balanced") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_loss_when_labels_are_smoothed_then_moves_the_targets(class_weights: str) -> None:
    labels = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]  # balanced: weights of 1 either way
    smoothed = labels * 0.8 + 0.1
    expected = -(smoothed * np.log(PROBABILITIES)).sum(axis=1).mean()
    assert _loss(labels, {}, class_weights=class_weights, label_smoothing=0.2) == pytest.approx(expected, rel=1e-5)


def test_multi_label_loss_when_balanced_and_smoothed_then_moves_the_targets() -> None:
    labels = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    expected = _bce(labels * 0.8 + 0.1).mean()
    got = _loss(labels, MULTI_LABEL, class_weights="balanced", label_smoothing=0.2)
    assert got == pytest.approx(expected, rel=1e-5)


def test_balanced_loss_when_a_class_has_no_image_then_stays_finite() -> None:
    absent = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    assert balanced_loss("multi-class", absent, 0.0).present[:2] == [1.0, 1.0]
    assert np.isfinite(balanced_loss("multi-label", absent, 0.0).present).all()


def test_balanced_loss_when_saved_then_is_built_again() -> None:
    loss = balanced_loss("multi-label", SEVERAL, 0.1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(again, BalancedCrossentropy)
    assert again.get_config() == loss.get_config()


def _train(network: keras.Model, share: float, *, pretrained: bool) -> set[str]:
    """Names of the variables that some steps changed."""
    freeze(network, unfrozen_share=share, pretrained=pretrained)
    Objective(model_config(), Hparams(), ONE_HOT).compile(network, 1e-2, steps=4)
    before = {weight.path: np.array(weight) for weight in network.weights}
    for _ in range(3):
        network.train_on_batch(IMAGES, ONE_HOT)
    return {weight.path for weight in network.weights if not np.array_equal(before[weight.path], np.array(weight))}


def test_freeze_when_the_share_is_zero_then_only_the_head_learns() -> None:
    changed = _train(build_classifier(model_config(), seed=1), 0, pretrained=True)
    assert changed == {"classifier/kernel", "classifier/bias"}


def test_freeze_when_a_share_is_unfrozen_then_only_the_top_learns() -> None:
    changed = _train(build_classifier(model_config(), seed=1), 0.25, pretrained=False)
    assert {path.split("/")[0] for path in changed} == {"conv_3", "conv_3_norm", "classifier"}


def test_freeze_when_pretrained_then_batch_normalisation_stays_in_inference() -> None:
    network = build_classifier(model_config(dropout=0), seed=1)
    changed = _train(network, 1, pretrained=True)
    assert {path.split("/")[0] for path in changed} == {"conv_0", "conv_1", "conv_2", "conv_3", "classifier"}
    np.testing.assert_allclose(network(IMAGES, training=True), network(IMAGES, training=False), atol=1e-6)


def test_freeze_when_trained_from_scratch_then_batch_normalisation_learns() -> None:
    changed = _train(build_classifier(model_config(), seed=1), 1, pretrained=False)
    assert {"conv_0_norm/gamma", "conv_0_norm/moving_mean", "conv_3_norm/moving_variance"} <= changed


def test_features_when_frozen_then_are_the_last_of_the_backbone() -> None:
    network = build_classifier(model_config(), seed=1)
    names = [layer.name for layer in network.layers]
    assert names[names.index(FEATURES_LAYER) :] == [FEATURES_LAYER, "pooling", "dropout", "classifier"]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_compile_when_cosine_then_rises_for_a_tenth_and_falls_to_zero(optimizer: str) -> None:
    network = build_classifier(model_config(), seed=1)
    objective = Objective(model_config(), Hparams.model_validate({"optimizer": optimizer}), ONE_HOT)
    objective.compile(network, 1e-3, steps=100)
    rates = [float(network.optimizer._learning_rate(step)) for step in (0, 10, 55, 100)]
    assert type(network.optimizer).__name__.lower() == optimizer
    assert rates == pytest.approx([1e-5, 1e-3, 5e-4, 0], abs=1e-9)


@pytest.mark.parametrize(("schedule", "expected"), [("constant", 1e-3), ("cosine", 1e-3)])
def test_compile_when_there_are_few_steps_then_starts_at_the_full_rate(schedule: str, expected: float) -> None:
    network = build_classifier(model_config(), seed=1)
    Objective(model_config(), Hparams.model_validate({"lr_schedule": schedule}), ONE_HOT).compile(network, 1e-3, 3)
    assert float(network.optimizer.learning_rate) == pytest.approx(expected)


def test_compile_when_adamw_then_decays_weights() -> None:
    network = build_classifier(model_config(), seed=1)
    hparams = Hparams.model_validate({"optimizer": "adamw", "weight_decay": 0.03})
    Objective(model_config(), hparams, ONE_HOT).compile(network, 1e-3, 3)
    assert network.optimizer.weight_decay == 0.03
