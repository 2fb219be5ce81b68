"""The untrained encoder: the same for every version of a model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from onsight.training.encoder import build_encoder


def test_build_encoder_depends_on_its_seed_alone() -> None:
    keras.utils.set_random_seed(1)
    first = build_encoder(8, 32, seed=5).get_weights()
    keras.utils.set_random_seed(2)
    second = build_encoder(8, 32, seed=5).get_weights()
    other = build_encoder(8, 32, seed=6).get_weights()

    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[-2], other[-2])


@pytest.mark.parametrize(("dims", "input_size"), [(2, 16), (32, 32), (512, 33), (8, 128)])
def test_build_encoder_gives_as_many_features_as_asked(dims: int, input_size: int) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (3, input_size, input_size, 3)).astype(np.float32)

    features = np.asarray(build_encoder(dims, input_size, seed=0)(images))

    assert features.shape == (3, dims)
    assert np.isfinite(features).all()
    assert features.std(axis=0).min() > 0
