"""Every augmenter that the config offers works on uint8 images, repeats for a seed, and refuses what it cannot take."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import numpy as np
import pytest

from onsight.config import Augmenter
from onsight.errors import ConfigError
from onsight.training import Augmentation
from tests.servers.pictures import pixels

IMAGES = np.stack([pixels(seed, 40, 32) for seed in range(6)])
ARGUMENTS: dict[str, dict[str, Any]] = {
    "Fliplr": {"p": 0.5},
    "Flipud": {"p": 0.5},
    "Rot90": {"k": (0, 3), "keep_size": True},
    "Affine": {"rotate": (-20, 20), "scale": (0.8, 1.2), "translate_percent": {"x": (-0.1, 0.1), "y": 0.05}},
    "Crop": {"percent": (0.0, 0.2)},
    "CropAndPad": {"percent": (-0.2, 0.2), "pad_mode": "reflect"},
    "GaussianBlur": {"sigma": (0.5, 1.5)},
    "AdditiveGaussianNoise": {"scale": (5, 20)},
    "Multiply": {"mul": (0.6, 1.4)},
    "Add": {"value": (-30, 30)},
    "LinearContrast": {"alpha": (0.6, 1.4)},
    "GammaContrast": {"gamma": (0.6, 1.6)},
    "Grayscale": {"alpha": (0.5, 1.0)},
    "Cutout": {"nb_iterations": 2, "size": 0.2},
    "CoarseDropout": {"p": 0.1, "size_percent": 0.2},
    "JpegCompression": {"compression": (60, 90)},
    "MultiplySaturation": {"mul": (0.3, 0.7)},
    "AddToHueAndSaturation": {"value": (-40, 40)},
    "ElasticTransformation": {"alpha": (5.0, 10.0), "sigma": 2.0},
    "Sharpen": {"alpha": (0.5, 1.0)},
}
NAMES = get_args(Augmenter.model_fields["name"].annotation)


def chain(*items: dict[str, Any]) -> Augmentation:
    return Augmentation([Augmenter.model_validate(item) for item in items])


@pytest.mark.parametrize("name", NAMES)
def test_augmenter_when_offered_then_changes_uint8_images_and_repeats_for_a_seed(name: str) -> None:
    before = IMAGES.copy()
    augmentation = chain({"name": name, "args": ARGUMENTS[name]})
    first, same, other = (augmentation(IMAGES, seed) for seed in (1, 1, 2))
    assert (first.dtype, first.shape) == (np.uint8, IMAGES.shape)
    assert any(not np.array_equal(one, image) for one, image in zip(first, IMAGES, strict=True))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(IMAGES, before)


def test_augmenters_when_all_in_a_chain_then_repeat_in_every_thread() -> None:
    items = [{"name": name, "args": ARGUMENTS[name], "probability": 0.5} for name in NAMES]
    augmentation = chain(*items)
    expected = [augmentation(IMAGES, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for seed, images in enumerate(threads.map(lambda seed: augmentation(IMAGES, seed), range(4))):
            np.testing.assert_array_equal(images, expected[seed])
    np.testing.assert_array_equal(chain(*items)(IMAGES, 2), expected[2])


def test_augmentation_when_empty_then_leaves_images_as_they_are() -> None:
    np.testing.assert_array_equal(chain()(IMAGES, 1), IMAGES)


def test_augmentation_when_probable_then_touches_that_share_of_images() -> None:
    images = np.tile(IMAGES[:1], (400, 1, 1, 1))
    augmented = chain({"name": "Fliplr", "args": {"p": 1.0}, "probability": 0.3})(images, 1)
    assert (augmented != images).any(axis=(1, 2, 3)).mean() == pytest.approx(0.3, abs=0.07)


def test_augmentation_when_arguments_are_wrong_then_names_each_of_them() -> None:
    with pytest.raises(ConfigError) as caught:
        chain(
            {"name": "Fliplr", "args": {"probability": 0.5}},
            {"name": "Flipud", "args": {"p": 0.5}},
            {"name": "GaussianBlur", "args": {"sigma": "strong"}},
        )
    assert "train.augmentation.0: Fliplr does not take" in caught.value.message
    assert "train.augmentation.2: GaussianBlur does not take" in caught.value.message
    assert len(caught.value.context["problems"]) == 2  # type: ignore[arg-type]
