"""Answering files in bulk, on real photographs."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onsight.bundle import Engine, OnnxClassifier
from onsight.errors import UnreadableImageError
from onsight.images import load_image, measure_properties
from onsight.serving import load_images, predict_files, predict_paths
from tests.servers.bundle import SIZE, write_small_graph


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> OnnxClassifier:
    graph = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_small_graph(graph, seed=3)
    return OnnxClassifier.load(graph, Engine(threads=1))


@pytest.fixture(scope="module")
def paths(plankton_images: list[Path]) -> list[Path]:
    """A dozen pictures in an order that no sorting gives."""
    return random.Random(5).sample(plankton_images, 12)


@pytest.mark.parametrize("batch_size", [1, 5, 12, 64])
def test_predict_paths_row_belongs_to_its_path_at_any_batch_size(
    classifier: OnnxClassifier, paths: list[Path], batch_size: int
) -> None:
    output = predict_paths(classifier, paths, batch_size)

    alone = [classifier.run(load_image(path, SIZE, SIZE)[np.newaxis]) for path in paths]
    for name in ("probabilities", "uae_features", "bbsd_features", "activation_map"):
        expected = np.concatenate([getattr(answer, name) for answer in alone])
        np.testing.assert_allclose(getattr(output, name), expected, rtol=1e-5, atol=1e-5)
    assert len(np.unique(output.probabilities[:, 0])) == len(paths)


def test_predict_files_says_what_each_file_is_like(classifier: OnnxClassifier, paths: list[Path]) -> None:
    answered = predict_files(classifier, paths, batch_size=5)

    for path, size, kind, properties in zip(paths, answered.sizes, answered.formats, answered.properties, strict=True):
        with Image.open(path) as header:
            assert (size, kind) == (header.size, header.format)
        assert [properties] == measure_properties(load_image(path, SIZE, SIZE)[np.newaxis])


def test_predict_paths_of_a_broken_file_names_it(classifier: OnnxClassifier, paths: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(paths[0].read_bytes()[:100])

    with pytest.raises(UnreadableImageError, match=str(broken)):
        predict_paths(classifier, [paths[0], broken, paths[1]])


def test_predict_paths_of_nothing_is_refused(classifier: OnnxClassifier) -> None:
    with pytest.raises(ValueError, match="no image"):
        predict_paths(classifier, [])


def test_load_images_is_unshuffled_and_sized(paths: list[Path]) -> None:
    images = load_images(paths, width=20, height=10)

    assert images.shape == (12, 10, 20, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[7], load_image(paths[7], 20, 10))
    assert load_images([], width=20, height=10).shape == (0, 10, 20, 3)
