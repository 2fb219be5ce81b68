"""From a trained network to the serving graph: one ONNX graph from pixels to everything that serving needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from onsight.bundle import OnnxClassifier
from onsight.config import AgreementConfig, ModelConfig
from onsight.errors import ConversionError
from onsight.training.architectures import FEATURES_LAYER

__all__ = ["AgreementReport", "check_agreement", "classification_weights", "export_serving_graph"]

_OPSET = 17
_BATCH_SIZES = (1, 2, 32)
# Two classes this close are a tie within float32's rounding: either may come first.
_TIE = 1e-6


@dataclass(frozen=True)
class AgreementReport:
    """How close a graph is to its network on the same images, over batches of 1, 2 and 32.

    Attributes:
        max_abs_difference: Of any probability.
        top1_agreement: Share of images whose top class is the same; the lowest of the three batch sizes.
    """

    n_images: int
    max_abs_difference: float
    top1_agreement: float


def export_serving_graph(network: keras.Model, encoder: keras.Model, config: ModelConfig, path: Path) -> None:
    """Write ``model.onnx``: uint8 RGB [N, H, W, 3] to probabilities, drift features, activation map and feature maps.

    The activation map is that of the top class in closed form: the last feature maps weighted by the class's column
    of the classification layer, negative evidence cut off, scaled to 0..1 (Zhou et al., *Learning Deep Features for
    Discriminative Localization*, CVPR 2016). The encoder sees an area-averaged resize of the same pixels.

    Args:
        network: From ``build_classifier``, trained.
        encoder: From ``build_encoder``.
        config: The network's section.
        path: Of the file; its folder exists.

    Raises:
        ConversionError: The network is of another build, or cannot be converted.
    """
    import onnx
    import tf2onnx

    height, width = config.input_size.h, config.input_size.w
    signature = [tf.TensorSpec([None, height, width, 3], tf.uint8, name="image")]
    try:
        serve = tf.function(_serving_function(network, encoder, config), autograph=False)
        constants = _captured_constants(serve.get_concrete_function(*signature))
        graph, _ = tf2onnx.convert.from_function(serve, signature, opset=_OPSET)
    except Exception as error:  # TensorFlow's and tf2onnx's errors share no base class but this one
        raise ConversionError(
            f"the network {config.model_name} ({config.architecture}) cannot be exported: {error}",
            hint="the export expects a network from build_classifier",
        ) from error
    _make_constant(graph.graph, constants)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def classification_weights(network: keras.Model, config: ModelConfig) -> NDArray[np.float32]:
    """The kernel of the classification layer, float32 [F, C]: with the graph's feature maps it explains any class."""
    return np.asarray(network.get_layer(config.classification_layer).kernel, np.float32)


def check_agreement(
    network: keras.Model, graph_path: Path, images: NDArray[np.uint8], config: AgreementConfig
) -> AgreementReport:
    """Compare a graph with its network on real images, at batch 1, 2 and 32.

    Args:
        network: The trained network.
        graph_path: What ``export_serving_graph`` wrote.
        images: uint8 [M, H, W, 3], RGB; M of at least 32 fills the largest batch.
        config: What is allowed.

    Raises:
        ConversionError: They differ by more than is allowed.
        BundleError: The file is no serving graph.
    """
    expected = np.asarray(network.predict(images, batch_size=_BATCH_SIZES[-1], verbose=0))
    classifier = OnnxClassifier.load(graph_path)
    rows = np.arange(len(images))
    differences, agreements = [], []
    for size in _BATCH_SIZES:
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        found = np.concatenate([classifier.run(batch).probabilities for batch in batches])
        differences.append(float(np.abs(found - expected).max()))
        same = expected[rows, found.argmax(axis=1)] >= expected.max(axis=1) - _TIE
        agreements.append(float(same.mean()))
    report = AgreementReport(len(images), float(np.max(differences)), min(agreements))
    _refuse_disagreement(report, config)
    return report


def _refuse_disagreement(report: AgreementReport, config: AgreementConfig) -> None:
    # Written so that a difference that is no number is refused as well.
    is_close = report.max_abs_difference <= config.max_abs_difference
    if is_close and report.top1_agreement >= config.min_top1_agreement:
        return
    raise ConversionError(
        f"the exported graph does not agree with the network on {report.n_images} images: probabilities differ by "
        f"up to {report.max_abs_difference:.2e} ({config.max_abs_difference:g} allowed), the top class is the same "
        f"for {report.top1_agreement:.1%} ({config.min_top1_agreement:.1%} needed)",
        hint="evaluate.agreement in the config says what is allowed",
        max_abs_difference=report.max_abs_difference,
        top1_agreement=report.top1_agreement,
    )


def _serving_function(
    network: keras.Model, encoder: keras.Model, config: ModelConfig
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    inner = keras.Model(network.inputs, [network.get_layer(FEATURES_LAYER).output, network.output])
    weights_by_class = classification_weights(network, config).T
    side = int(encoder.input_shape[1])

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.cast(image, tf.float32)
        features, probabilities = inner(pixels, training=False)
        small = _area_resize(pixels, config.input_size.h, config.input_size.w, side)
        return {
            "probabilities": tf.identity(probabilities, "probabilities"),
            "uae_features": tf.identity(encoder(small, training=False), "uae_features"),
            "bbsd_features": tf.identity(probabilities, "bbsd_features"),
            "activation_map": _activation_map(features, probabilities, tf.constant(weights_by_class)),
            "feature_maps": tf.identity(features, "feature_maps"),
        }

    return serve


def _captured_constants(function: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - TensorFlow is untyped
    """Tensors that layers hold beside their weights, as Normalization does; the converter takes them for inputs."""
    pairs = function.graph.captures
    return {inner.name: outer.numpy() for outer, inner in pairs if inner.dtype != tf.resource}


def _make_constant(graph: Any, constants: Mapping[str, NDArray[Any]]) -> None:  # noqa: ANN401 - ONNX is untyped
    from onnx import numpy_helper

    for value in [value for value in graph.input if value.name in constants]:
        graph.initializer.append(numpy_helper.from_array(constants[value.name], value.name))
        graph.input.remove(value)


def _activation_map(features: tf.Tensor, probabilities: tf.Tensor, weights_by_class: tf.Tensor) -> tf.Tensor:
    """Features [N, h, w, F] weighted by each image's top class: [N, h, w], 0..1."""
    _, height, width, n_features = features.shape
    top = tf.gather(weights_by_class, tf.argmax(probabilities, axis=1))
    places = tf.reshape(features, [-1, height * width, n_features])
    evidence = tf.nn.relu(tf.matmul(places, top[:, :, tf.newaxis]))
    strongest = tf.reduce_max(evidence, axis=1, keepdims=True)
    scaled = evidence / tf.maximum(strongest, 1e-12)
    return tf.reshape(scaled, [-1, height, width], name="activation_map")


def _area_resize(pixels: tf.Tensor, height: int, width: int, side: int) -> tf.Tensor:
    """Mean of the pixels under each output pixel, as two matrix products: [N, H, W, 3] to [N, side, side, 3]."""
    rows = tf.constant(_area_weights(height, side))
    columns = tf.constant(_area_weights(width, side))
    by_row = tf.matmul(rows, tf.reshape(pixels, [-1, height, width * 3]))
    planes = tf.transpose(tf.reshape(by_row, [-1, side, width, 3]), [0, 3, 1, 2])
    small = tf.matmul(planes, columns, transpose_b=True)
    return tf.transpose(small, [0, 2, 3, 1])


def _area_weights(size: int, side: int) -> NDArray[np.float32]:
    """[side, size]: the share that each of ``size`` pixels has in each of ``side`` equal stretches."""
    edges = np.arange(side + 1) * (size / side)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    shares: NDArray[np.float32] = (np.clip(overlap, 0, None) * (side / size)).astype(np.float32)
    return shares
