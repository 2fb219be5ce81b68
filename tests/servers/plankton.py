"""Real photographs for tests: 105 microscope pictures in six class folders, from the installed package planktonclas."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import pytest

_FOLDER = "planktonclas/resources/demo-images/"


@pytest.fixture(scope="session")
def plankton_folder() -> Path:
    """The folder of the class folders; read-only, it belongs to the installed package."""
    pictures = [file for file in files("planktonclas") or [] if str(file).startswith(_FOLDER)]
    assert pictures, "install requirements/test-data.txt"
    return Path(str(pictures[0].locate())).parents[1]


@pytest.fixture(scope="session")
def plankton_images(plankton_folder: Path) -> list[Path]:
    """All pictures, sorted by path; the class is the name of the parent folder."""
    return sorted(plankton_folder.glob("*/*.jpg"))
