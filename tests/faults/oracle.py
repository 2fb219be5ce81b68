"""What every version answers to every picture of the load, computed here and not by the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onsight.bundle import load_bundle
from onsight.images import read_image
from onsight.settings import Settings
from onsight.storage import open_store
from tests.servers import pictures

N_IMAGES = 12
# A batch of eight adds up in another order than a batch of one.
_TOLERANCE = 1e-4
_APART = 1e-2


@dataclass(frozen=True)
class Oracle:
    """Right answers.

    Attributes:
        contents: The pictures, as files.
        expected: Probabilities by bundle, [images, classes].
    """

    contents: Sequence[bytes]
    expected: Mapping[str, np.ndarray[Any, Any]]

    def is_right(self, image: int, answer: Mapping[str, Any]) -> bool:
        """Whether an answer is that of the version that it names."""
        bundle = f"{answer['model_name']}-v{answer['model_version']}"
        if bundle not in self.expected:
            return False
        given = np.array(list(answer["prediction"].values()))
        return bool(np.abs(given - self.expected[bundle][image]).max() < _TOLERANCE)


def make_oracle(storage: str, bundles: Sequence[str], cache: Path) -> Oracle:
    """Reads the bundles; their answers must be told apart by any picture."""
    contents = [pictures.jpeg(seed, 90 + seed, 60 + seed) for seed in range(N_IMAGES)]
    store = open_store(Settings(central_storage_url=storage))
    expected: dict[str, np.ndarray[Any, Any]] = {}
    for name in bundles:
        bundle = load_bundle(store, name, cache)
        width, height = bundle.metadata.input_width, bundle.metadata.input_height
        images = np.stack([read_image(content, width, height) for content in contents])
        expected[name] = bundle.classifier.run(images).probabilities
        for other in set(expected) - {name}:
            assert np.abs(expected[name] - expected[other]).max(axis=1).min() > _APART
    return Oracle(contents, expected)
