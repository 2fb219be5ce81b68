"""The map of any class, against a computation written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from onsight.bundle import Bundle
from onsight.errors import BundleError
from onsight.explain import class_activation_map


def by_hand(feature_maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    height, width, n_features = feature_maps.shape
    sums = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            total = sum(float(weights[f]) * float(feature_maps[row, column, f]) for f in range(n_features))
            sums[row, column] = max(0.0, total)
    return sums / sums.max() if sums.max() > 0 else sums


@pytest.mark.parametrize("shape", [(7, 7, 12), (1, 1, 3), (2, 9, 1)], ids=str)
def test_class_activation_map_is_the_weighted_sum_of_the_feature_maps(shape: tuple[int, int, int]) -> None:
    draw = np.random.default_rng(0)
    maps, weights = draw.random(shape, np.float32), draw.normal(0, 1, shape[2]).astype(np.float32)

    found = class_activation_map(maps, weights)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(maps, weights), atol=1e-5)


def test_class_activation_map_of_the_top_class_is_the_graphs_own(small_bundle: Bundle) -> None:
    assert small_bundle.explainer is not None
    images = np.random.default_rng(3).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    output, feature_maps = small_bundle.classifier.run_explained(images)
    weights = small_bundle.explainer.class_weights

    for row, top in enumerate(output.probabilities.argmax(axis=1)):
        found = class_activation_map(feature_maps[row], weights[:, top])
        np.testing.assert_allclose(found, output.activation_map[row], atol=1e-5)
    assert output.activation_map.max() == pytest.approx(1)


def test_class_activation_map_when_nothing_speaks_for_the_class_is_zero() -> None:
    assert (class_activation_map(np.ones((4, 5, 2), np.float32), -np.ones(2, np.float32)) == 0).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_class_activation_map_of_numbers_that_are_not_finite_is_refused(wrong: float) -> None:
    maps = np.ones((2, 2, 3), np.float32)
    maps[1, 0, 2] = wrong

    with pytest.raises(BundleError, match="not finite"):
        class_activation_map(maps, np.ones(3, np.float32))
