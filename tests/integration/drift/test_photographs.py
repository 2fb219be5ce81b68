"""Drift on real photographs, through the graph that serves: quiet traffic stays quiet, a changed camera is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from onsight.bundle import Engine, OnnxClassifier
from onsight.domain import ModelOutput
from onsight.drift import DetectorSpec, fit_detector
from onsight.serving import predict_paths
from tests.servers.training import model_config

Camera = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> OnnxClassifier:
    from onsight.training import build_classifier, build_encoder, export_serving_graph

    config, graph = model_config(), tmp_path_factory.mktemp("graph") / "model.onnx"
    export_serving_graph(build_classifier(config, seed=1), build_encoder(32, 32, seed=0), config, graph)
    return OnnxClassifier.load(graph, Engine(threads=1))


@pytest.fixture(scope="module")
def photographs(plankton_images: list[Path]) -> tuple[list[Path], list[Path]]:
    """60 for the reference and 45 others for the window, drawn from the same mix."""
    order = np.random.default_rng(2).permutation(len(plankton_images))
    return [plankton_images[row] for row in order[:60]], [plankton_images[row] for row in order[60:]]


@pytest.fixture(scope="module")
def reference(classifier: OnnxClassifier, photographs: tuple[list[Path], list[Path]]) -> ModelOutput:
    return predict_paths(classifier, photographs[0])


def taken_with(camera: Camera, paths: list[Path], folder: Path) -> list[Path]:
    for path in paths:
        with Image.open(path) as image:
            camera(image.convert("RGB")).save(folder / path.with_suffix(".png").name)
    return [folder / path.with_suffix(".png").name for path in paths]


@pytest.mark.parametrize("test", ["ks", "mmd"])
@pytest.mark.parametrize("features", ["uae", "bbsd"])
def test_other_photographs_of_the_same_kind_are_no_drift(
    features: Literal["uae", "bbsd"],
    test: Literal["ks", "mmd"],
    classifier: OnnxClassifier,
    reference: ModelOutput,
    photographs: tuple[list[Path], list[Path]],
) -> None:
    window = predict_paths(classifier, photographs[1])
    detector = fit_detector(DetectorSpec(features, "native", test), getattr(reference, f"{features}_features"))
    assert detector.test(getattr(window, f"{features}_features")).is_drift is False


@pytest.mark.parametrize("test", ["ks", "mmd"])
@pytest.mark.parametrize(
    "camera",
    [
        lambda image: ImageEnhance.Brightness(image).enhance(0.6),
        lambda image: ImageEnhance.Contrast(image).enhance(0.3),
        lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 8)),
    ],
    ids=["darker", "pale", "out of focus"],
)
def test_photographs_of_a_changed_camera_are_drift(
    camera: Camera,
    test: Literal["ks", "mmd"],
    classifier: OnnxClassifier,
    reference: ModelOutput,
    photographs: tuple[list[Path], list[Path]],
    tmp_path: Path,
) -> None:
    window = predict_paths(classifier, taken_with(camera, photographs[1], tmp_path))
    verdict = fit_detector(DetectorSpec("uae", "native", test), reference.uae_features).test(window.uae_features)
    assert verdict.is_drift is True, verdict
