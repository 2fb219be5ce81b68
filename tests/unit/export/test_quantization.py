"""The int8 variant: the same inputs and outputs, 7-bit weights, float32 where it matters, left out when it is bad."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from onsight.bundle import Engine, GoldenImages, OnnxClassifier
from onsight.config import ModelConfig, TrainConfig
from onsight.domain import DatasetVersion, ScoredSplit, Split
from onsight.errors import ConversionError
from onsight.serving import load_images
from onsight.training import (
    FEATURES_LAYER,
    TrainingJob,
    build_classifier,
    build_encoder,
    classification_weights,
    export_serving_graph,
    predict_probabilities,
    quantize_graph,
    train_classifier,
)
from tasks.quantization import quantize_network
from tasks.training import ExportedNetwork
from tests.servers.training import CLASSES, SIDE, MemoryRun, model_config


@dataclass(frozen=True)
class Trained:
    """A network trained on photographs, what it says of the held-out ones, and both graphs."""

    model: ModelConfig
    network: keras.Model
    dataset: DatasetVersion
    scored: ScoredSplit
    exported: ExportedNetwork
    int8: Path

    @property
    def images(self) -> NDArray[np.uint8]:
        """The held-out photographs."""
        return load_images(self.scored.paths, SIDE, SIDE)


@pytest.fixture(scope="module")
def trained(plankton_set: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    model = model_config()
    hparams = TrainConfig.model_validate({"hparams": {"epochs": 6, "batch_size": 16, "init_lr": 0.003}})
    job = TrainingJob(model, hparams, folder / "checkpoint")
    network = train_classifier(build_classifier(model, seed=1), plankton_set, job, MemoryRun()).network
    held_out = plankton_set.splits["valid"]
    probabilities = predict_probabilities(network, held_out.paths)
    graph = folder / "model.onnx"
    export_serving_graph(network, build_encoder(8, 16, seed=0), model, graph)
    golden = load_images(held_out.paths[:8], SIDE, SIDE)
    exported = ExportedNetwork(
        folder / "model.keras",
        graph,
        GoldenImages(golden, probabilities[:8]),
        classification_weights(network, model),
    )
    images = load_images(plankton_set.splits["train"].paths, SIDE, SIDE)
    quantize_graph(graph, images, folder / "quantized.onnx")
    scored = ScoredSplit("valid", held_out.paths, held_out.labels, probabilities, CLASSES)
    return Trained(model, network, plankton_set, scored, exported, folder / "quantized.onnx")


def shapes(values: Any) -> dict[str, list[Any]]:
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }


def test_inputs_and_outputs_are_those_of_the_graph(trained: Trained) -> None:
    before, after = onnx.load(trained.exported.graph).graph, onnx.load(trained.int8).graph

    assert shapes(after.input) == shapes(before.input)
    assert shapes(after.output) == shapes(before.output)
    assert trained.int8.stat().st_size < trained.exported.graph.stat().st_size


@pytest.mark.parametrize("batch_size", [1, 7])
def test_answers_are_near_those_of_the_graph(trained: Trained, batch_size: int) -> None:
    before = OnnxClassifier.load(trained.exported.graph, Engine(threads=1)).run(trained.images)
    classifier = OnnxClassifier.load(trained.int8, Engine(threads=1))
    starts = range(0, len(trained.images), batch_size)
    batches = [classifier.run(trained.images[start : start + batch_size]) for start in starts]
    after = {name: np.concatenate([vars(batch)[name] for batch in batches]) for name in vars(before)}

    assert after["probabilities"].std(axis=0).min() > 0.1
    np.testing.assert_allclose(after["probabilities"], before.probabilities, atol=0.1)
    np.testing.assert_array_equal(after["bbsd_features"], after["probabilities"])
    # The encoder is not quantised: the features of both variants are one distribution.
    np.testing.assert_allclose(after["uae_features"], before.uae_features, rtol=1e-4, atol=1e-5)
    assert after["activation_map"].shape == before.activation_map.shape
    assert classifier.n_features == trained.exported.class_weights.shape[0]


def test_every_convolution_of_the_classifier_is_quantised_and_none_of_the_encoder(trained: Trained) -> None:
    graph = onnx.load(trained.int8).graph
    by_output = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]

    is_int8 = {node.name: by_output.get(node.input[0], node).op_type == "DequantizeLinear" for node in convolutions}

    assert {is_quantised for name, is_quantised in is_int8.items() if name.startswith("uae")} == {False}
    assert {is_quantised for name, is_quantised in is_int8.items() if not name.startswith("uae")} == {True}
    dense = [node for node in graph.node if node.op_type == "MatMul"]
    assert dense
    assert not any(by_output.get(name, dense[0]).op_type == "DequantizeLinear" for node in dense for name in node.input)


def test_weights_keep_to_seven_bits_and_activations_are_unsigned(trained: Trained) -> None:
    graph = onnx.load(trained.int8).graph
    arrays = {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.initializer}
    weights = quantised_weights(trained.int8)

    assert weights
    assert {int(np.abs(weight).max()) for weight in weights} == {64}
    zero_points = [arrays[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {zero_point.dtype for zero_point in zero_points} == {np.dtype(np.uint8)}


@pytest.mark.slow
def test_weights_of_depthwise_convolutions_keep_all_eight_bits(trained: Trained, tmp_path: Path) -> None:
    model = model_config(architecture="efficientnet_lite0")
    export_serving_graph(build_classifier(model, seed=1), build_encoder(8, 16, 0), model, tmp_path / "model.onnx")

    quantize_graph(tmp_path / "model.onnx", trained.images[:2], tmp_path / "model.int8.onnx")

    arrays = quantised_weights(tmp_path / "model.int8.onnx")
    assert {int(np.abs(array).max()) for array in arrays if array.shape[1] == 1} == {127}
    assert {int(np.abs(array).max()) for array in arrays if array.shape[1] > 1} == {64}


def test_integer_kernels_answer_as_the_plain_arithmetic_does(trained: Trained) -> None:
    options = ort.SessionOptions()
    # Without optimisation every node runs as it is written, in float32: no 8-bit product can saturate.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(str(trained.int8), options, providers=["CPUExecutionProvider"])

    (expected,) = plain.run(["probabilities"], {"image": trained.images})

    found = OnnxClassifier.load(trained.int8, Engine(threads=1)).run(trained.images).probabilities
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_quantize_network_that_is_good_enough_is_published_with_its_own_golden_answers(trained: Trained) -> None:
    run = MemoryRun()

    outcome = quantize_network.fn(trained.exported, trained.scored, trained.dataset, lenient(trained, 0.05), run)

    assert outcome.parts is not None
    assert outcome.message.startswith("published: accuracy ")
    images = trained.exported.golden.images
    answers = OnnxClassifier.load(outcome.parts.graph, Engine(threads=1)).run(images).probabilities
    np.testing.assert_allclose(outcome.parts.golden.probabilities, answers, atol=1e-5)
    assert not np.array_equal(outcome.parts.golden.probabilities, trained.exported.golden.probabilities)
    ((_, metrics),) = run.metrics
    assert metrics["valid_fp32_accuracy"] > 0.7
    assert metrics["valid_int8_accuracy"] >= metrics["valid_fp32_accuracy"] - 0.05


def test_quantize_network_that_loses_too_much_is_left_out(trained: Trained, tmp_path: Path) -> None:
    # Ranges read from black images fit no photograph.
    black = tmp_path / "black.png"
    Image.new("RGB", (SIDE, SIDE)).save(black)
    train = trained.dataset.splits["train"]
    dataset = replace(trained.dataset, splits={"train": Split("train", (black,) * len(train), train.labels)})
    # The network is right by definition, so that every other answer is a loss.
    labels = np.eye(2, dtype=np.float32)[trained.scored.probabilities.argmax(axis=1)]
    scored = replace(trained.scored, labels=labels)
    run = MemoryRun()

    outcome = quantize_network.fn(trained.exported, scored, dataset, trained.model, run)

    assert outcome.parts is None
    assert outcome.message.startswith("left out: accuracy 0.")
    assert "against 1.0000 in fp32 on 24 images of valid, a loss of 0.01 is allowed" in outcome.message
    ((_, metrics),) = run.metrics
    assert metrics["valid_int8_accuracy"] < metrics["valid_fp32_accuracy"] == 1


def test_quantize_network_whose_answers_would_be_taken_for_drift_is_left_out(trained: Trained) -> None:
    # The same top classes, and so the same accuracy, but another distribution.
    unsure = 0.5 + 0.2 * (trained.scored.probabilities - 0.5)
    scored = replace(trained.scored, probabilities=unsure)

    outcome = quantize_network.fn(trained.exported, scored, trained.dataset, lenient(trained, 0.05), MemoryRun())

    assert outcome.parts is None
    assert "the drift monitor would take its answers for drift" in outcome.message


def test_quantize_network_that_cannot_be_quantised_is_left_out(trained: Trained, tmp_path: Path) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no graph")

    outcome = quantize_network.fn(
        replace(trained.exported, graph=broken), trained.scored, trained.dataset, trained.model, MemoryRun()
    )

    assert outcome.parts is None
    assert "cannot be quantised" in outcome.message


def test_quantize_graph_of_one_without_convolutions_is_refused(trained: Trained, tmp_path: Path) -> None:
    pixels = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Identity(name=FEATURES_LAYER)(keras.layers.Rescaling(1 / 255)(pixels))
    network = keras.Model(
        pixels, keras.layers.Dense(2, "softmax", name="classifier")(keras.layers.GlobalAveragePooling2D()(x))
    )
    export_serving_graph(network, build_encoder(8, 16, seed=0), trained.model, tmp_path / "model.onnx")

    with pytest.raises(ConversionError, match="it has no convolution") as caught:
        quantize_graph(tmp_path / "model.onnx", trained.images, tmp_path / "model.int8.onnx")

    assert "model.int8.enabled" in caught.value.hint


def quantised_weights(path: Path) -> list[NDArray[np.int64]]:
    """Of the convolutions in integers."""
    arrays = [numpy_helper.to_array(initializer) for initializer in onnx.load(path).graph.initializer]
    return [array.astype(np.int64) for array in arrays if array.dtype == np.int8 and array.ndim == 4]


def lenient(trained: Trained, max_accuracy_loss: float) -> ModelConfig:
    """The model's section with another margin: one image of 24 is more than the default."""
    int8 = trained.model.int8.model_copy(update={"max_accuracy_loss": max_accuracy_loss})
    return trained.model.model_copy(update={"int8": int8})
