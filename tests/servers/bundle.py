"""Central storage with bundles of a small network, for the tests that serve one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

CLASSES = ("functional", "scratched", "broken")
SIZE = 32
UAE_DIMS = 8
_CHANNELS = 8


# Writes the graph of a seed, and gives the class weights that go with it, or none as before there were explanations.
GraphWriter = Callable[[Path, int], np.ndarray[Any, Any] | None]
# Writes the int8 variant of a graph, calibrated on images.
Quantizer = Callable[[Path, np.ndarray[Any, Any], Path], None]


@dataclass(frozen=True)
class BundleStore:
    """A central storage folder.

    Attributes:
        first: A sound bundle.
        second: Another version of the same model, with other weights.
        damaged: A version whose graph was changed after it was published.
    """

    url: str
    first: str
    second: str
    damaged: str
    classes: tuple[str, ...]
    uae_dims: int

    def golden(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The first bundle's golden images and probabilities."""
        from onsight.bundle.golden import read_golden

        golden = read_golden(Path(self.url) / "models" / self.first / "golden.npz")
        return golden.images, golden.probabilities


@pytest.fixture(scope="session")
def bundle_store(tmp_path_factory: pytest.TempPathFactory) -> BundleStore:
    """Three published versions of one model: two sound ones, and one that was damaged afterwards."""
    root = tmp_path_factory.mktemp("central_storage")
    names = [publish_small(root, version, tmp_path_factory.mktemp("parts")) for version in (1, 2, 3)]
    damage_graph(str(root), names[2])
    return BundleStore(str(root), *names, CLASSES, UAE_DIMS)


@pytest.fixture
def own_bundle_store(bundle_store: BundleStore, tmp_path: Path) -> BundleStore:
    """A copy of the same versions, for a test that does harm to it."""
    return replace(bundle_store, url=str(shutil.copytree(bundle_store.url, tmp_path / "storage")))


def damage_graph(store_url: str, bundle_name: str) -> None:
    """Changes the graph of a version that was published."""
    graph = Path(store_url) / "models" / bundle_name / "model.onnx"
    graph.chmod(0o644)
    graph.write_bytes(graph.read_bytes() + b"\0")


def write_small_graph(path: Path, seed: int, *, with_feature_maps: bool = True) -> np.ndarray[Any, Any]:
    """A serving graph with one convolution: uint8 [N, 32, 32, 3] in, the five outputs out; gives its class weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(seed)
    constants = {
        "kernel": draw.normal(0, 0.3, (_CHANNELS, 3, 3, 3)),
        "dense": draw.normal(0, 3, (_CHANNELS, len(CLASSES))),
        "encoder": draw.normal(0, 1, (_CHANNELS, UAE_DIMS)),
        "scale": np.array(1 / 255),
        "least": np.array(1e-12),
    }
    constants["by_class"] = constants["dense"].T
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    for name, axes in (("class_axes", [1, 3]), ("last", [3]), ("grid", [1, 2]), ("places", [2, 3])):
        initializers.append(numpy_helper.from_array(np.array(axes, dtype=np.int64), name))
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["filtered"], strides=[2, 2]),
        helper.make_node("Relu", ["filtered"], ["maps"]),
        helper.make_node("ReduceMean", ["maps", "places"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("Identity", ["probabilities"], ["bbsd_features"]),
        helper.make_node("MatMul", ["pooled", "encoder"], ["uae_features"]),
        helper.make_node("Transpose", ["maps"], ["feature_maps"], perm=[0, 2, 3, 1]),
        *_activation_map_nodes(),
    ]
    outputs = {
        "probabilities": ["N", len(CLASSES)],
        "uae_features": ["N", UAE_DIMS],
        "bbsd_features": ["N", len(CLASSES)],
        "activation_map": ["N", None, None],
    }
    if with_feature_maps:
        outputs["feature_maps"] = ["N", None, None, _CHANNELS]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return np.asarray(constants["dense"], dtype=np.float32)


def _activation_map_nodes() -> list[Any]:
    """The top class's weighted sum of the feature maps, cut at 0 and scaled to 1."""
    from onnx import helper

    return [
        helper.make_node("ArgMax", ["probabilities"], ["top"], axis=1, keepdims=0),
        helper.make_node("Gather", ["by_class", "top"], ["top_weights"]),
        helper.make_node("Unsqueeze", ["top_weights", "class_axes"], ["top_columns"]),
        helper.make_node("MatMul", ["feature_maps", "top_columns"], ["sums"]),
        helper.make_node("Squeeze", ["sums", "last"], ["signed"]),
        helper.make_node("Relu", ["signed"], ["evidence"]),
        helper.make_node("ReduceMax", ["evidence", "grid"], ["strongest"], keepdims=1),
        helper.make_node("Max", ["strongest", "least"], ["divisor"]),
        helper.make_node("Div", ["evidence", "divisor"], ["activation_map"]),
    ]


def publish_small(
    root: Path,
    version: int,
    parts_dir: Path,
    write_graph: GraphWriter = write_small_graph,
    quantize: Quantizer | None = None,
    classifier_type: Literal["multi-class", "multi-label"] = "multi-class",
) -> str:
    """Publishes a version whose graph is written by ``write_graph``, and gives the bundle's name."""
    from onsight.bundle import BundleParts, Engine, GoldenImages, OnnxClassifier, VariantParts, publish_bundle
    from onsight.domain import BundleMetadata
    from onsight.settings import Settings
    from onsight.storage import open_store

    graph = parts_dir / "model.onnx"
    class_weights = write_graph(graph, version)
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    probabilities = OnnxClassifier.load(graph, Engine(threads=1)).run(images).probabilities
    int8 = None
    if quantize is not None:
        quantize(graph, images, parts_dir / "model.int8.onnx")
        classifier = OnnxClassifier.load(parts_dir / "model.int8.onnx", Engine(threads=1))
        int8 = VariantParts(parts_dir / "model.int8.onnx", GoldenImages(images, classifier.run(images).probabilities))
    # The service reads neither the trained network nor the detectors: stand-ins will do.
    for name in ("uae", "bbsd"):
        (parts_dir / name).mkdir()
        (parts_dir / name / "detector.json").write_text("{}")
    for name in ("model.keras", "reference.parquet"):
        (parts_dir / name).write_bytes(b"stand-in")
    parts = BundleParts(
        network=parts_dir / "model.keras",
        graph=graph,
        golden=GoldenImages(images, probabilities),
        uae_detector=parts_dir / "uae",
        bbsd_detector=parts_dir / "bbsd",
        reference=parts_dir / "reference.parquet",
        class_weights=class_weights,
        int8=int8,
    )
    metadata = BundleMetadata(
        model_name="cells",
        version=version,
        classes=CLASSES,
        classifier_type=classifier_type,
        architecture="small_cnn",
        input_width=SIZE,
        input_height=SIZE,
        uae_dims=UAE_DIMS,
        run_id="run",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        dataset_name="made",
        dataset_tag="v1.0.0",
        dataset_revision="0" * 40,
        metrics={"accuracy": 0.9},
        drift_detector="native",
        drift_test="ks",
        drift_p_value=0.01,
        reference_rows=50,
        sha256="",
    )
    return publish_bundle(open_store(Settings(central_storage_url=str(root))), parts, metadata).bundle_name
