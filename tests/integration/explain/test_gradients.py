"""Maps of a real network's graph against the gradients that they replace, from the export to the loaded bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from onsight.bundle import Bundle, BundleParts, Engine, GoldenImages, OnnxClassifier, load_bundle, publish_bundle
from onsight.config import ModelConfig
from onsight.explain import class_activation_map
from onsight.serving import load_images
from onsight.settings import Settings
from onsight.storage import open_store
from onsight.training import (
    FEATURES_LAYER,
    build_classifier,
    build_encoder,
    classification_weights,
    export_serving_graph,
)
from services.dl_service.explanations import ExplainRequest, explain
from tests.servers.bundle import BundleStore
from tests.servers.training import model_config

SIDE = 64
CLASSES = ("a", "b", "c")


@dataclass(frozen=True)
class Explained:
    """A network, its published bundle, and what both say of some photographs."""

    network: keras.Model
    bundle: Bundle
    images: NDArray[np.uint8]
    feature_maps: NDArray[np.float32]
    activation_map: NDArray[np.float32]
    top: NDArray[np.intp]


@pytest.fixture(scope="module", params=["small_cnn", "efficientnet_lite0"])
def explained(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    plankton_images: list[Path],
    bundle_store: BundleStore,
) -> Explained:
    folder = tmp_path_factory.mktemp("explained")
    config = model_config(architecture=request.param, input_size={"w": SIDE, "h": SIDE}, classes=CLASSES)
    images = load_images(plankton_images[::6], SIDE, SIDE)
    network = build_classifier(config, seed=1)
    head = network.layers[-1]
    # Weights that make the classes differ from image to image, as training would.
    pooled = keras.Model(network.input, network.get_layer("pooling").output).predict(images, verbose=0)
    kernel = head.get_weights()[0] * 20
    head.set_weights([kernel, -np.median(pooled @ kernel, axis=0)])
    bundle = published(network, config, images, folder, bundle_store)
    output, feature_maps = bundle.classifier.run_explained(images)
    return Explained(network, bundle, images, feature_maps, output.activation_map, output.probabilities.argmax(axis=1))


def published(
    network: keras.Model, config: ModelConfig, images: NDArray[np.uint8], folder: Path, like: BundleStore
) -> Bundle:
    """The network's bundle, exported, published and loaded."""
    graph = folder / "model.onnx"
    export_serving_graph(network, build_encoder(8, 16, seed=0), config, graph)
    for name in ("uae", "bbsd"):
        (folder / name).mkdir()
        (folder / name / "detector.json").write_text("{}")
    (folder / "stand-in").write_bytes(b"stand-in")
    parts = BundleParts(
        network=folder / "stand-in",
        graph=graph,
        golden=GoldenImages(images[:4], OnnxClassifier.load(graph, Engine(threads=1)).run(images[:4]).probabilities),
        uae_detector=folder / "uae",
        bbsd_detector=folder / "bbsd",
        reference=folder / "stand-in",
        class_weights=classification_weights(network, config),
    )
    example = load_bundle(open_store(Settings(central_storage_url=like.url)), like.first, folder / "cache").metadata
    metadata = replace(example, classes=CLASSES, input_width=SIDE, input_height=SIDE, version=7)
    store = open_store(Settings(central_storage_url=str(folder / "central")))
    publish_bundle(store, parts, metadata)
    return load_bundle(store, metadata.bundle_name, folder / "cache", Engine(threads=1))


def gradient_map(network: keras.Model, image: NDArray[np.uint8], class_index: int) -> NDArray[np.float32]:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of the class's logit: maps weighted by the mean gradient."""
    features = keras.Model(network.input, network.get_layer(FEATURES_LAYER).output)
    head = network.layers[-1]
    maps = features(image[np.newaxis].astype(np.float32), training=False)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logit = (tf.reduce_mean(maps, axis=(1, 2)) @ head.kernel + head.bias)[0, class_index]
    weights = tf.reduce_mean(tape.gradient(logit, maps), axis=(1, 2))
    evidence = tf.nn.relu(tf.reduce_sum(maps * weights[:, tf.newaxis, tf.newaxis, :], axis=-1))[0].numpy()
    return np.asarray(evidence / max(float(evidence.max()), 1e-12), dtype=np.float32)


def class_map(explained: Explained, row: int, class_index: int) -> NDArray[np.float32]:
    assert explained.bundle.explainer is not None
    return class_activation_map(explained.feature_maps[row], explained.bundle.explainer.class_weights[:, class_index])


def test_feature_maps_are_the_networks(explained: Explained) -> None:
    layer = keras.Model(explained.network.input, explained.network.get_layer(FEATURES_LAYER).output)

    expected = np.asarray(layer(explained.images.astype(np.float32), training=False))

    np.testing.assert_allclose(explained.feature_maps, expected, rtol=1e-3, atol=1e-4)


def test_map_of_the_top_class_is_the_graphs_own(explained: Explained) -> None:
    for row, top in enumerate(explained.top):
        np.testing.assert_allclose(class_map(explained, row, int(top)), explained.activation_map[row], atol=1e-5)


@pytest.mark.parametrize("class_index", range(len(CLASSES)))
def test_map_of_any_class_is_that_of_its_gradient(explained: Explained, class_index: int) -> None:
    for row in range(0, len(explained.images), 4):
        expected = gradient_map(explained.network, explained.images[row], class_index)
        np.testing.assert_allclose(class_map(explained, row, class_index), expected, atol=2e-3)


def test_explanations_of_two_classes_differ(explained: Explained, plankton_images: list[Path]) -> None:
    content = plankton_images[0].read_bytes()
    pictures: list[Any] = [
        explain(content, explained.bundle, explained.feature_maps[0], ExplainRequest("both", name), "a")
        for name in CLASSES
    ]

    assert len({one.raw_hm_img for one in pictures}) > 1
    assert [one.explain_class for one in pictures] == list(CLASSES)
