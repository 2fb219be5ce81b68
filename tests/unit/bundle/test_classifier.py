"""What counts as a serving graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onsight.bundle import Engine, OnnxClassifier
from onsight.errors import BundleError, ConfigError
from tests.servers.bundle import write_small_graph


def write_graph(path: Path, inputs: dict[str, tuple[int, list[object]]], outputs: list[str]) -> Path:
    """A graph that gives zeros, whatever it is shown."""
    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, [1, 3], np.zeros(3, np.float32).tolist())
    graph = helper.make_graph(
        [helper.make_node("Constant", [], [name], value=zeros) for name in outputs],
        "zeros",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in outputs],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


_IMAGE = {"image": (TensorProto.UINT8, ["N", 32, 32, 3])}
_MAPS = "feature_maps"
_OUTPUTS = ["probabilities", "uae_features", "bbsd_features", "activation_map"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "found"),
    [
        (_IMAGE, _OUTPUTS[:3], "outputs"),
        (_IMAGE, [*_OUTPUTS, _MAPS], "feature maps"),
        ({"picture": _IMAGE["image"]}, _OUTPUTS, "inputs"),
        ({**_IMAGE, "mask": _IMAGE["image"]}, _OUTPUTS, "inputs"),
        ({"image": (TensorProto.FLOAT, ["N", 32, 32, 3])}, _OUTPUTS, "tensor"),
        ({"image": (TensorProto.UINT8, [1, 32, 32, 3])}, _OUTPUTS, r"\[1, 32, 32, 3\]"),
        ({"image": (TensorProto.UINT8, ["N", "H", "W", 3])}, _OUTPUTS, "'H'"),
        ({"image": (TensorProto.UINT8, ["N", 3, 32, 32])}, _OUTPUTS, r"3, 32, 32"),
        ({"image": (TensorProto.UINT8, ["N", 32, 32])}, _OUTPUTS, r"32, 32\]"),
    ],
    ids=[
        "output missing",
        "feature maps",
        "input name",
        "second input",
        "float",
        "fixed batch",
        "free size",
        "NCHW",
        "grey",
    ],
)
def test_load_refuses_a_graph_of_another_kind(
    tmp_path: Path, inputs: dict[str, tuple[int, list[object]]], outputs: list[str], found: str
) -> None:
    path = write_graph(tmp_path / "model.onnx", inputs, outputs)

    with pytest.raises(BundleError, match=f"is no serving graph: .*{found}") as caught:
        OnnxClassifier.load(path, Engine(threads=1))

    assert "uint8 [N, H, W, 3]" in caught.value.hint


def test_load_of_a_missing_file_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be loaded"):
        OnnxClassifier.load(tmp_path / "model.onnx")


def test_run_explained_gives_the_same_answer_and_the_maps_of_each_feature(tmp_path: Path) -> None:
    write_small_graph(tmp_path / "model.onnx", seed=1)
    classifier = OnnxClassifier.load(tmp_path / "model.onnx", Engine(threads=1))
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)

    output, feature_maps = classifier.run_explained(images)

    assert classifier.n_features == 8
    assert feature_maps.shape == (5, 15, 15, 8)
    assert feature_maps.dtype == np.float32
    for name, value in vars(classifier.run(images)).items():
        np.testing.assert_array_equal(getattr(output, name), value)
    with pytest.raises(ValueError, match="images are uint8"):
        classifier.run_explained(images[:, :16])


def test_run_explained_of_an_older_graph_says_what_to_do(tmp_path: Path) -> None:
    write_small_graph(tmp_path / "model.onnx", seed=1, with_feature_maps=False)
    classifier = OnnxClassifier.load(tmp_path / "model.onnx", Engine(threads=1))

    assert classifier.n_features is None
    with pytest.raises(BundleError, match="gives no feature maps") as caught:
        classifier.run_explained(np.zeros((1, 32, 32, 3), np.uint8))

    assert "export the model again" in caught.value.hint


def test_a_row_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    write_small_graph(tmp_path / "model.onnx", seed=1)
    classifier = OnnxClassifier.load(tmp_path / "model.onnx", Engine(threads=1))
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)

    together = classifier.run(images)
    alone = [classifier.run(images[index : index + 1]) for index in range(5)]

    for name in ("probabilities", "uae_features", "bbsd_features", "activation_map"):
        rows = np.concatenate([getattr(output, name) for output in alone])
        np.testing.assert_allclose(rows, getattr(together, name), atol=1e-6)
        assert getattr(together, name).dtype == np.float32


def test_engine_of_a_provider_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match="no ThoughtExecutionProvider") as raised:
        Engine(providers=("ThoughtExecutionProvider", "CPUExecutionProvider")).check()
    assert "CPUExecutionProvider" in raised.value.hint
    Engine().check()
