"""Deepchecks' vision suite, for places where PyTorch is installed; it reads the images themselves."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onsight.domain import DatasetVersion, Split
from onsight.errors import ConfigError, ImageError
from onsight.images import decode_image
from onsight.validation.checks import Problem
from onsight.validation.properties_report import suite_problems

__all__ = ["require_vision", "run_vision_suite"]

_BATCH = 64


def require_vision() -> None:
    """See that the vision suite can run here.

    Raises:
        ConfigError: PyTorch, torchvision or Ignite is not installed.
    """
    missing = [name for name in ("torch", "torchvision", "ignite") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"validation.deepchecks_suite: vision needs {', '.join(missing)}, not installed here",
            "install torch, torchvision and pytorch-ignite, or set validation.deepchecks_suite: tabular",
        )


def run_vision_suite(dataset: DatasetVersion, report: Path) -> list[Problem]:
    """Compare the training split with the test split by their images.

    Args:
        dataset: In a multi-label set an image counts for the first of its classes.
        report: The HTML file to write; an old one is replaced.

    Returns:
        A problem for each condition that failed.
    """
    os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old idioms in deepchecks and what it imports
        from deepchecks.vision import VisionData
        from deepchecks.vision.suites import train_test_validation

        names = dict(enumerate(dataset.classes))
        train, test = (
            VisionData(_Batches(dataset.splits[name]), "classification", label_map=names, reshuffle_data=False)
            for name in ("train", "test")
        )
        result = train_test_validation().run(train, test)
        report.unlink(missing_ok=True)
        result.save_as_html(str(report), as_widget=False)
    return suite_problems(result)


class _Batches:
    """The readable images of a split, mixed with a fixed seed because the suite may look at a part alone.

    An iterable and no generator: the suite goes over it more than once.
    """

    def __init__(self, split: Split) -> None:
        self._split = split

    def __iter__(self) -> Iterator[dict[str, list[Any]]]:
        order = np.random.default_rng(0).permutation(len(self._split))
        for start in range(0, len(order), _BATCH):
            found = [(self._image(row), int(self._split.labels[row].argmax())) for row in order[start : start + _BATCH]]
            good = [(image, label) for image, label in found if image is not None]
            if good:
                yield {"images": [image for image, _ in good], "labels": [label for _, label in good]}

    def _image(self, row: int) -> NDArray[np.uint8] | None:
        try:
            return decode_image(self._split.paths[row].read_bytes())
        except (ImageError, OSError):
            return None  # the check of unreadable images names it
