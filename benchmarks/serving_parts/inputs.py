"""What is measured: a photograph, and two networks as published bundles, made once and kept in the work folder.

Runs as a process of its own (``python -m benchmarks.serving_parts.inputs WORK``), so that TensorFlow is loaded there
alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from onsight.config import ModelConfig

__all__ = ["NETWORKS", "Network", "make_photograph", "prepare"]

WIDTH, HEIGHT = 500, 400
_ROOT = Path(__file__).parents[2]
# What the bundles depend on: when it changes they are made again.
_SOURCES = ("onsight/training", "onsight/bundle", "benchmarks/serving_parts/inputs.py")
_ARCHITECTURES = {
    "demo": ("efficientnet_lite0", 128, "bundled", ("functional", "defective")),
    # What the reference design was first measured with.
    "small": ("small_cnn", 50, "none", ("functional", "defective")),
    "resnet50": ("resnet50", 224, "none", tuple(f"class_{index}" for index in range(10))),
}
NETWORKS = tuple(_ARCHITECTURES)


@dataclass(frozen=True)
class Network:
    """A network in its bundle.

    Attributes:
        folder: Of its files.
        side: Of its input, pixels.
    """

    name: str
    folder: Path
    side: int

    @property
    def storage(self) -> Path:
        """Central storage with its bundle."""
        return self.folder / "storage"

    @property
    def bundle(self) -> str:
        """The bundle's name."""
        return f"{self.name}-v1"

    @property
    def graph(self) -> Path:
        """The whole serving graph, as it is in the bundle."""
        return self.storage / "models" / self.bundle / "model.onnx"

    @property
    def classifier_graph(self) -> Path:
        """The same graph cut down to the probabilities: what the peers serve."""
        return self.folder / "classifier.onnx"

    @property
    def keras_file(self) -> Path:
        """The network itself."""
        return self.folder / "network.keras"

    @property
    def encoder_file(self) -> Path:
        """The drift encoder."""
        return self.folder / "encoder.keras"


def make_photograph() -> bytes:
    """A 500x400 JPEG, cut from a photograph that scikit-image ships."""
    from skimage import data

    coffee = Image.fromarray(data.coffee())  # type: ignore[no-untyped-call,unused-ignore]
    left, top = (coffee.width - WIDTH) // 2, (coffee.height - HEIGHT) // 2
    buffer = io.BytesIO()
    coffee.crop((left, top, left + WIDTH, top + HEIGHT)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def prepare(work: Path, name: str) -> Network:
    """A network; made in another process if it is not there yet."""
    network = _network(work, name)
    if not network.classifier_graph.exists():
        command = [sys.executable, "-m", "benchmarks.serving_parts.inputs", str(work), name]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
        subprocess.run(command, check=True, cwd=_ROOT, env=environment)
    return network


def _network(work: Path, name: str) -> Network:
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = _ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return Network(name, work / f"{name}-{digest.hexdigest()[:12]}", _ARCHITECTURES[name][1])


def _make(network: Network) -> None:
    import onnx.utils

    from onsight.config import ModelConfig
    from onsight.training import build_classifier, build_encoder, export_serving_graph, quantize_graph

    architecture, side, weights, classes = _ARCHITECTURES[network.name]
    size = {"w": side, "h": side}
    values = {"model_name": network.name, "input_size": size, "classes": classes, "architecture": architecture}
    config = ModelConfig.model_validate({**values, "weights": weights})
    drift = config.drift_detection
    keras_network = build_classifier(config, seed=1)
    _settle(keras_network, side)
    encoder = build_encoder(drift.uae_encoding_dims, drift.uae_input_size, seed=0)
    network.folder.mkdir(parents=True, exist_ok=True)
    keras_network.save(network.keras_file)
    encoder.save(network.encoder_file)
    graph = network.folder / "model.onnx"
    export_serving_graph(keras_network, encoder, config, graph)
    quantize_graph(graph, _photographs(side), graph.with_name("model.int8.onnx"))
    kernel = np.asarray(keras_network.get_layer(config.classification_layer).kernel, np.float32)
    _publish(network, config, graph, kernel)
    onnx.utils.extract_model(str(graph), str(network.classifier_graph), ["image"], ["probabilities"])


def _settle(network: Any, side: int) -> None:  # noqa: ANN401 - Keras is untyped
    """Fits the batch statistics of an untrained network to photographs, so that its numbers are of usual size."""
    if network.name in {name for name, parts in _ARCHITECTURES.items() if parts[2] != "none"}:
        return
    batch = _photographs(side).astype(np.float32)
    for layer in network.layers:
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.5
    for _ in range(8):
        network(batch, training=True)


def _photographs(side: int) -> NDArray[np.uint8]:
    """Four cuts of the photograph, uint8 [4, side, side, 3]."""
    photograph = Image.open(io.BytesIO(make_photograph()))
    cuts = [(0, 0, 250, 200), (250, 0, 500, 200), (0, 200, 250, 400), (0, 0, 500, 400)]
    resized = [photograph.resize((side, side), Image.Resampling.BICUBIC, box=cut) for cut in cuts]
    return np.stack([np.asarray(image) for image in resized])


def _publish(network: Network, config: ModelConfig, graph: Path, kernel: NDArray[np.float32]) -> None:
    from onsight.bundle import BundleParts, Engine, GoldenImages, OnnxClassifier, VariantParts, publish_bundle
    from onsight.domain import BundleMetadata
    from onsight.settings import Settings
    from onsight.storage import open_store

    images = _photographs(network.side)
    golden, int8_golden = (
        GoldenImages(images, OnnxClassifier.load(path, Engine(threads=1)).run(images).probabilities)
        for path in (graph, graph.with_name("model.int8.onnx"))
    )
    # The service reads neither the detectors nor the reference data: stand-ins will do.
    stand_ins = network.folder / "stand_ins"
    for kind in ("uae", "bbsd"):
        (stand_ins / kind).mkdir(parents=True, exist_ok=True)
        (stand_ins / kind / "detector.json").write_text("{}")
    (stand_ins / "reference.parquet").write_bytes(b"stand-in")
    parts = BundleParts(
        network=network.keras_file,
        graph=graph,
        golden=golden,
        uae_detector=stand_ins / "uae",
        bbsd_detector=stand_ins / "bbsd",
        reference=stand_ins / "reference.parquet",
        class_weights=kernel,
        int8=VariantParts(graph.with_name("model.int8.onnx"), int8_golden),
    )
    metadata = BundleMetadata(
        model_name=network.name,
        version=1,
        classes=config.classes,
        classifier_type="multi-class",
        architecture=config.architecture,
        input_width=network.side,
        input_height=network.side,
        uae_dims=config.drift_detection.uae_encoding_dims,
        run_id="benchmark",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        dataset_name="none",
        dataset_tag="v1.0.0",
        dataset_revision="0" * 40,
        metrics={},
        drift_detector="native",
        drift_test="ks",
        drift_p_value=0.01,
        reference_rows=50,
        sha256="",
    )
    network.storage.mkdir(exist_ok=True)
    publish_bundle(open_store(Settings(central_storage_url=str(network.storage))), parts, metadata)


if __name__ == "__main__":
    _make(_network(Path(sys.argv[1]), sys.argv[2]))
