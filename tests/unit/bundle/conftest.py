"""A bundle's parts, small and real enough: a graph of one convolution, detectors of two files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from onsight.bundle import BundleParts, Engine, GoldenImages, OnnxClassifier
from onsight.domain import BundleMetadata
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store
from tests.servers.bundle import CLASSES, SIZE, UAE_DIMS, write_small_graph


@pytest.fixture(scope="session")
def make_parts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], BundleParts]:
    """Parts by seed; another seed gives other weights."""

    def make(seed: int) -> BundleParts:
        folder = tmp_path_factory.mktemp("parts")
        graph = folder / "trained.onnx"
        class_weights = write_small_graph(graph, seed)
        images = np.random.default_rng(seed).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
        for name in ("uae", "bbsd"):
            (folder / name).mkdir()
            (folder / name / "detector.json").write_text(f'{{"features": "{name}"}}')
            (folder / name / "reference.npz").write_bytes(b"rows")
        (folder / "trained.keras").write_bytes(b"network")
        (folder / "reference.parquet").write_bytes(b"rows")
        answers = OnnxClassifier.load(graph, Engine(threads=1)).run(images).probabilities
        return BundleParts(
            network=folder / "trained.keras",
            graph=graph,
            golden=GoldenImages(images, answers),
            uae_detector=folder / "uae",
            bbsd_detector=folder / "bbsd",
            reference=folder / "reference.parquet",
            class_weights=class_weights,
        )

    return make


@pytest.fixture(scope="session")
def parts(make_parts: Callable[[int], BundleParts]) -> BundleParts:
    return make_parts(1)


@pytest.fixture
def metadata() -> BundleMetadata:
    """Of version 1 of the model ``plankton``; its checksum is not known yet."""
    return BundleMetadata(
        model_name="plankton",
        version=1,
        classes=CLASSES,
        classifier_type="multi-class",
        architecture="small_cnn",
        input_width=SIZE,
        input_height=SIZE,
        uae_dims=UAE_DIMS,
        run_id="run",
        created_at=datetime(2026, 1, 1, 12, 30, tzinfo=UTC),
        dataset_name="plankton",
        dataset_tag="v1.0.0",
        dataset_revision="0" * 40,
        metrics={"accuracy": 0.9},
        drift_detector="native",
        drift_test="ks",
        drift_p_value=0.01,
        reference_rows=50,
        sha256="",
    )


@pytest.fixture
def central(tmp_path: Path) -> Path:
    return tmp_path / "central"


@pytest.fixture
def store(central: Path) -> ArtifactStore:
    return open_store(Settings(central_storage_url=str(central)))
