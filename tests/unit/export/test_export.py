"""The serving graph against the network it came from, on real photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onsight.bundle import Engine, OnnxClassifier
from onsight.config import AgreementConfig, ModelConfig
from onsight.domain import ModelOutput
from onsight.errors import ConversionError
from onsight.serving import load_images
from onsight.training.architectures import FEATURES_LAYER, build_classifier
from onsight.training.encoder import build_encoder
from onsight.training.export import check_agreement, export_serving_graph
from tests.servers.training import model_config

WIDTH, HEIGHT, SIDE, DIMS = 48, 40, 16, 8
_WIDE: dict[str, Any] = {"input_size": {"w": WIDTH, "h": HEIGHT}, "classes": ("a", "b", "c")}
_LABELS: dict[str, Any] = {"classifier_type": "multi-label", "classifier_activation": "sigmoid"}


@dataclass(frozen=True)
class Exported:
    """A network, its graph and what the graph says of some photographs."""

    config: ModelConfig
    network: keras.Model
    encoder: keras.Model
    graph: Path
    images: NDArray[np.uint8]
    output: ModelOutput


def opinionated(network: keras.Model, images: NDArray[np.uint8]) -> keras.Model:
    """Its weights moved away from where they start, until it does not say the same of every picture."""
    draw = np.random.default_rng(4)
    network.set_weights([weight * draw.uniform(0.5, 1.5, weight.shape) for weight in network.get_weights()])
    head = network.layers[-1]
    kernel = head.get_weights()[0] * 20
    pooled = keras.Model(network.input, network.get_layer("pooling").output).predict(images, verbose=0)
    head.set_weights([kernel, -np.median(pooled @ kernel, axis=0)])
    return network


@pytest.fixture(scope="module", params=[{}, _LABELS], ids=["multi-class", "multi-label"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, plankton_images: list[Path]
) -> Exported:
    config = model_config(**_WIDE, **request.param)
    images = load_images(plankton_images[::3], WIDTH, HEIGHT)
    network = opinionated(build_classifier(config, seed=1), images)
    encoder = build_encoder(DIMS, SIDE, seed=0)
    graph = tmp_path_factory.mktemp("graph") / "model.onnx"
    export_serving_graph(network, encoder, config, graph)
    return Exported(config, network, encoder, graph, images, OnnxClassifier.load(graph, Engine(threads=1)).run(images))


def test_graph_has_the_contracts_names_types_and_shapes(exported: Exported) -> None:
    graph = onnx.load(str(exported.graph)).graph
    classifier = OnnxClassifier.load(exported.graph, Engine(threads=1))

    n = len(exported.images)
    assert [value.name for value in graph.input] == ["image"]
    assert {v.type.tensor_type.shape.dim[0].dim_param for v in (*graph.input, *graph.output)} == {"N"}
    assert (classifier.input_width, classifier.input_height, classifier.n_classes) == (WIDTH, HEIGHT, 3)
    assert exported.output.probabilities.shape == (n, 3)
    assert exported.output.uae_features.shape == (n, DIMS)
    assert exported.output.bbsd_features.shape == (n, 3)
    assert exported.output.activation_map.shape == (n, 5, 6)
    assert classifier.n_features == 128
    assert classifier.run_explained(exported.images)[1].shape == (n, 5, 6, 128)
    assert {value.dtype for value in vars(exported.output).values()} == {np.dtype(np.float32)}


def test_probabilities_are_the_networks(exported: Exported) -> None:
    expected = exported.network.predict(exported.images, verbose=0)

    np.testing.assert_allclose(exported.output.probabilities, expected, atol=1e-5)
    np.testing.assert_array_equal(exported.output.bbsd_features, exported.output.probabilities)
    assert len(set(expected.argmax(axis=1))) > 1


def test_activation_map_is_the_top_classs_evidence(exported: Exported) -> None:
    layer = exported.network.get_layer(FEATURES_LAYER)
    maps = np.asarray(keras.Model(exported.network.input, layer.output)(exported.images, training=False))
    kernel = np.asarray(exported.network.get_layer(exported.config.classification_layer).kernel)
    top = exported.output.probabilities.argmax(axis=1)

    evidence = np.einsum("nhwf,fn->nhw", maps, kernel[:, top]).clip(min=0)
    expected = evidence / evidence.max(axis=(1, 2), keepdims=True).clip(min=1e-12)

    np.testing.assert_allclose(exported.output.activation_map, expected, atol=1e-4)
    assert exported.output.activation_map.min() >= 0
    assert exported.output.activation_map.max() == pytest.approx(1)


def test_activation_map_when_nothing_speaks_for_the_top_class_is_zero(exported: Exported, tmp_path: Path) -> None:
    network = keras.models.clone_model(exported.network)
    network.set_weights(exported.network.get_weights())
    head = network.layers[-1]
    kernel, bias = head.get_weights()
    head.set_weights([-np.abs(kernel), bias])
    export_serving_graph(network, exported.encoder, exported.config, tmp_path / "model.onnx")

    output = OnnxClassifier.load(tmp_path / "model.onnx", Engine(threads=1)).run(exported.images)

    assert (output.activation_map == 0).all()


def test_uae_features_are_the_encoders_of_the_averaged_image(exported: Exported) -> None:
    small = area_average(exported.images.astype(np.float64), SIDE)

    expected = np.asarray(exported.encoder(small.astype(np.float32), training=False))

    np.testing.assert_allclose(exported.output.uae_features, expected, rtol=1e-3, atol=1e-4)
    assert exported.output.uae_features.std(axis=0).min() > 0


def area_average(images: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """By hand: each pixel repeated ``side`` times both ways, then plain means of equal blocks."""
    _, height, width, _ = images.shape
    fine = images.repeat(side, axis=1).repeat(side, axis=2)
    return fine.reshape(len(images), side, height, side, width, 3).mean(axis=(2, 4))


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_a_row_does_not_depend_on_its_batch(exported: Exported, batch_size: int) -> None:
    classifier = OnnxClassifier.load(exported.graph, Engine(threads=1))
    starts = range(0, len(exported.images), batch_size)
    outputs = [classifier.run(exported.images[start : start + batch_size]) for start in starts]

    for name, together in vars(exported.output).items():
        rows = np.concatenate([getattr(output, name) for output in outputs])
        np.testing.assert_allclose(rows, together, rtol=1e-3, atol=1e-5)


def test_check_agreement_of_a_network_with_its_graph_passes(exported: Exported) -> None:
    report = check_agreement(exported.network, exported.graph, exported.images, AgreementConfig())

    assert report.n_images == len(exported.images)
    assert report.max_abs_difference < 1e-5
    assert report.top1_agreement == 1


def other_classes(network: keras.Model) -> None:
    head = network.layers[-1]
    kernel, bias = head.get_weights()
    head.set_weights([np.roll(kernel, 1, axis=1), np.roll(bias, 1)])


def no_number(network: keras.Model) -> None:
    head = network.layers[-1]
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias * np.nan])


@pytest.mark.parametrize("change", [other_classes, no_number], ids=["other classes", "no number"])
def test_check_agreement_with_another_networks_graph_is_refused(
    exported: Exported, change: Callable[[keras.Model], None]
) -> None:
    other = keras.models.clone_model(exported.network)
    other.set_weights(exported.network.get_weights())
    change(other)

    with pytest.raises(ConversionError, match="does not agree with the network on 35 images") as caught:
        check_agreement(other, exported.graph, exported.images, AgreementConfig())

    assert "evaluate.agreement" in caught.value.hint


def test_check_agreement_within_tolerance_but_with_another_top_class_is_refused(exported: Exported) -> None:
    other = keras.models.clone_model(exported.network)
    other.set_weights(exported.network.get_weights())
    other_classes(other)

    with pytest.raises(ConversionError, match="the top class is the same"):
        check_agreement(other, exported.graph, exported.images, AgreementConfig(max_abs_difference=0.999))


def test_check_agreement_counts_a_tie_as_the_same_class(exported: Exported) -> None:
    network = keras.models.clone_model(exported.network)
    network.set_weights(exported.network.get_weights())
    head = network.layers[-1]
    head.set_weights([weights * 0 for weights in head.get_weights()])

    # The network says the same of all classes, so none of the graph's choices is another one.
    report = check_agreement(network, exported.graph, exported.images, AgreementConfig(max_abs_difference=0.999))

    assert report.top1_agreement == 1


def test_export_of_another_build_of_network_is_refused(tmp_path: Path) -> None:
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    network = keras.Model(pixels, keras.layers.Dense(3, name="classifier")(keras.layers.Flatten()(pixels)))

    with pytest.raises(ConversionError, match="the network plankton .* cannot be exported") as caught:
        export_serving_graph(network, build_encoder(DIMS, SIDE, 0), model_config(**_WIDE), tmp_path / "model.onnx")

    assert "build_classifier" in caught.value.hint
    assert not (tmp_path / "model.onnx").exists()


def test_export_of_a_network_with_constants_beside_its_weights_agrees(
    tmp_path: Path, plankton_images: list[Path]
) -> None:
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Normalization(mean=(103.0, 116.0, 123.0), variance=(4.0, 9.0, 16.0))(pixels)
    x = keras.layers.Identity(name=FEATURES_LAYER)(keras.layers.Conv2D(4, 3)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(pixels, keras.layers.Dense(3, "softmax", name="classifier")(x))
    graph = tmp_path / "model.onnx"

    export_serving_graph(network, build_encoder(DIMS, SIDE, 0), model_config(**_WIDE), graph)

    images = load_images(plankton_images[:8], WIDTH, HEIGHT)
    assert check_agreement(network, graph, images, AgreementConfig()).max_abs_difference < 1e-4


def test_export_of_the_demos_architecture_agrees(tmp_path: Path, plankton_images: list[Path]) -> None:
    config = model_config(architecture="efficientnet_lite0", input_size={"w": 64, "h": 64})
    network = build_classifier(config, seed=1)
    graph = tmp_path / "model.onnx"

    export_serving_graph(network, build_encoder(32, 32, 0), config, graph)

    report = check_agreement(network, graph, load_images(plankton_images[:8], 64, 64), AgreementConfig())
    assert report.max_abs_difference < 1e-4
