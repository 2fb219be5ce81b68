"""Networks by name: the same end everywhere, preprocessing inside, weights from where the config says."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest

from onsight.config import Architecture
from onsight.errors import TrainingError
from onsight.images import load_image
from onsight.training import FEATURES_LAYER, build_classifier
from onsight.training.lite0_weights import lite0_checkpoint_path, read_checkpoint
from tests.servers.training import model_config

PIXELS = np.random.default_rng(5).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
SIZE = {"w": 64, "h": 64}


@pytest.fixture(autouse=True)
def _fresh_keras() -> None:
    keras.backend.clear_session()


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_build_classifier_when_named_then_probabilities_are_a_weighted_sum_of_feature_maps(architecture: str) -> None:
    network = build_classifier(model_config(architecture=architecture, input_size=SIZE, dropout=0.3), seed=1)
    both = keras.Model(network.inputs[0], [network.get_layer(FEATURES_LAYER).output, network.output])
    features, probabilities = (np.asarray(part) for part in both(PIXELS, training=False))
    head = network.get_layer("classifier")
    assert features.ndim == 4
    assert head is network.layers[-1]
    kernel, bias = head.get_weights()
    logits = features.mean(axis=(1, 2)) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(network(PIXELS.astype(np.float32))), probabilities, atol=1e-6)


def _keras_own(name: str) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    return getattr(keras.applications, name).preprocess_input


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("resnet50", _keras_own("resnet50")),
        ("densenet121", _keras_own("densenet")),
        ("xception", _keras_own("xception")),
        ("efficientnet_lite0", lambda x: (x - 127) / 128),
        ("small_cnn", lambda x: x / 127.5 - 1),
    ],
)
def test_build_classifier_when_given_pixels_then_prepares_them_as_its_weights_expect(
    architecture: str, expected: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> None:
    network = build_classifier(model_config(architecture=architecture, input_size=SIZE), seed=1)
    prepared = keras.Model(network.inputs[0], network.get_layer("preprocessing").output)(PIXELS)
    np.testing.assert_allclose(np.asarray(prepared), expected(PIXELS.astype(np.float32)), atol=1e-4)


@pytest.mark.parametrize(("classifier_type", "activation"), [("multi-class", "softmax"), ("multi-label", "sigmoid")])
def test_build_classifier_when_typed_then_ends_in_the_configured_layer(classifier_type: str, activation: str) -> None:
    config = model_config(
        classifier_type=classifier_type, classifier_activation=activation, classification_layer="answer"
    )
    network = build_classifier(config, seed=1)
    assert network.layers[-1].name == "answer"
    assert network.layers[-1].activation.__name__ == activation


def test_build_classifier_when_seeded_then_repeats() -> None:
    first, same, other = (build_classifier(model_config(), seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_build_classifier_when_another_thread_draws_meanwhile_then_repeats() -> None:
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            random.random()

    first = build_classifier(model_config(), 1).get_weights()
    thread = threading.Thread(target=draw)
    thread.start()
    try:
        second = build_classifier(model_config(), 1).get_weights()
    finally:
        stop.set()
        thread.join()
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_lite0_when_bundled_then_names_photographs_of_imagenet() -> None:
    size = {"w": 224, "h": 224}
    classes = tuple(f"class {index}" for index in range(1000))
    config = model_config(architecture="efficientnet_lite0", weights="bundled", input_size=size, classes=classes)
    network = build_classifier(config, seed=1)
    tensors = read_checkpoint(lite0_checkpoint_path())
    network.layers[-1].set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])
    photographs = {
        Path(str(file.locate())): int(match[1])
        for file in files("foolbox") or []
        if (match := re.search(r"imagenet_\d+_(\d+)\.jpg$", str(file)))
    }
    images = np.stack([load_image(path, 224, 224) for path in photographs])
    ranked = np.asarray(network.predict_on_batch(images)).argsort(axis=1)[:, ::-1]
    labels = np.array(list(photographs.values()))[:, None]
    assert len(photographs) == 20
    assert (ranked[:, :1] == labels).sum() >= 17
    assert (ranked[:, :5] == labels).sum() == 20


def test_weights_file_when_classes_are_the_same_then_loads_all(tmp_path: Path) -> None:
    source = build_classifier(model_config(), seed=1)
    source.save(tmp_path / "source.keras")
    loaded = build_classifier(model_config(weights=tmp_path / "source.keras"), seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(source.get_weights(), loaded.get_weights(), strict=True))


def test_weights_file_when_classes_differ_then_loads_all_but_the_head(tmp_path: Path) -> None:
    source = build_classifier(model_config(), seed=1)
    source.save(tmp_path / "source.keras")
    loaded = build_classifier(model_config(weights=tmp_path / "source.keras", classes=("a", "b", "c")), seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(source.get_weights()[:-2], loaded.get_weights()[:-2], strict=True))
    assert loaded.output_shape == (None, 3)


def test_weights_file_when_of_another_architecture_then_says_so(tmp_path: Path) -> None:
    build_classifier(model_config(), seed=1).save(tmp_path / "source.keras")
    with pytest.raises(TrainingError, match="another architecture"):
        build_classifier(model_config(architecture="mobilenet_v3_small", weights=tmp_path / "source.keras"), seed=1)


def test_weights_file_when_missing_or_damaged_then_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no file"):
        build_classifier(model_config(weights=tmp_path / "none.keras"), seed=1)
    (tmp_path / "text.keras").write_text("text")
    with pytest.raises(TrainingError, match="is no .keras file"):
        build_classifier(model_config(weights=tmp_path / "text.keras"), seed=1)


def test_imagenet_weights_when_offline_then_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    config = model_config(architecture="densenet121", weights="imagenet", input_size={"w": 36, "h": 36})
    with pytest.raises(TrainingError, match="ImageNet weights of densenet121 could not be downloaded") as caught:
        build_classifier(config, seed=1)
    assert "set weights to a file, or none" in caught.value.hint


def test_build_classifier_when_the_input_is_too_small_then_says_so() -> None:
    with pytest.raises(TrainingError, match="densenet121 cannot be built for 16 x 16 pixels"):
        build_classifier(model_config(architecture="densenet121", input_size={"w": 16, "h": 16}), seed=1)
