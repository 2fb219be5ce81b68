"""Data sets in memory that lie on disk as real photographs, without git and DVC."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onsight.config.model import ModelConfig
from onsight.domain import DatasetVersion, Split

MakeDataset = Callable[[], DatasetVersion]


@pytest.fixture
def plankton(tmp_path: Path, plankton_folder: Path) -> DatasetVersion:
    """All plankton pictures: of each class the first 60 % train, the next 15 % valid, the rest test."""
    classes = tuple(sorted(folder.name for folder in plankton_folder.iterdir()))
    paths: dict[str, list[Path]] = {"train": [], "valid": [], "test": []}
    for name in classes:
        pictures = sorted((plankton_folder / name).iterdir())
        for index, picture in enumerate(pictures):
            share = index / len(pictures)
            split = "train" if share < 0.6 else "valid" if share < 0.75 else "test"
            target = tmp_path / "images" / split / name / picture.name
            target.parent.mkdir(parents=True, exist_ok=True)
            paths[split].append(Path(shutil.copyfile(picture, target)))
    splits = {
        split: Split(split, tuple(own), np.eye(6, dtype=np.float32)[[classes.index(path.parent.name) for path in own]])
        for split, own in paths.items()
    }
    return DatasetVersion("plankton", "v1.0.0", "0" * 40, tmp_path, classes, splits)


@pytest.fixture
def model(plankton: DatasetVersion) -> ModelConfig:
    return ModelConfig.model_validate(
        {"model_name": "plankton", "input_size": {"w": 64, "h": 64}, "classes": plankton.classes}
    )
