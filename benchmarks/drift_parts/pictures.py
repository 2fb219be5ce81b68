"""Which pictures the drift benchmark uses, and the features of each kind of them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial
from importlib.metadata import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_parts.corruptions import CORRUPTIONS, corrupted, one_frame
from benchmarks.drift_parts.features import FeatureReader, Features

__all__ = ["N_FRAMES", "PictureSet", "read_pictures"]

Rows = NDArray[np.intp]

# The features of corrupted pictures are computed for so many, drawn from all of the data set.
N_CORRUPTED = 1_050
# Frames of each held-out picture's scene, for bursts.
N_FRAMES = 4
_SEED = 2019


@dataclass(frozen=True)
class PictureSet:
    """Features of the data set's pictures.

    Attributes:
        clean: All pictures.
        labels: intp [N], the class of each.
        held_out: Rows of ``clean`` from the splits valid and test.
        altered: Rows of ``clean`` whose corrupted features are known, in the order of ``corrupted``'s rows.
        corrupted: By name of the corruption and strength 0, 1, 2.
        frames: Frames of the same scene, rows in the order of ``held_out``.
        unseen: Pictures of something else.
    """

    clean: Features
    labels: Rows
    held_out: Rows
    altered: Rows
    corrupted: dict[tuple[str, int], Features]
    frames: tuple[Features, ...]
    unseen: Features


def read_pictures(reader: FeatureReader, dataset: Path) -> PictureSet:
    """Compute the features of everything, or read them from the reader's cache."""
    with (dataset / "annotation_df.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_name = {path.name: path for path in (dataset / "images").rglob("*.png")}
    paths = [by_name[row["image_name"]] for row in rows]
    random = np.random.default_rng(_SEED)
    held_out = np.array([index for index, row in enumerate(rows) if row["split"] != "train"])
    altered = random.permutation(len(paths))[:N_CORRUPTED]
    changed = {
        (name, index): reader.read(
            f"{name} {index}", [paths[row] for row in altered], partial(_corrupt, name, strengths[index])
        )
        for name, (_, strengths, _) in CORRUPTIONS.items()
        for index in range(3)
    }
    return PictureSet(
        clean=reader.read("clean", paths, None),
        labels=np.array([int(row["defective"]) for row in rows]),
        held_out=held_out,
        altered=altered,
        corrupted=changed,
        frames=tuple(
            reader.read(f"frame {index}", [paths[row] for row in held_out], partial(_frame, index))
            for index in range(N_FRAMES)
        ),
        unseen=reader.read("unseen", _plankton(), None),
    )


def _corrupt(name: str, strength: float, picture, random):  # noqa: ANN001, ANN202
    return corrupted(name, strength, picture, random)


def _frame(index: int, picture, random):  # noqa: ANN001, ANN202
    return one_frame(picture, np.random.default_rng([index, int(random.integers(2**32))]))


def _plankton() -> list[Path]:
    """The demo images of the package planktonclas: microscope pictures of plankton, six classes."""
    found = [file for file in files("planktonclas") or [] if "resources/demo-images/" in str(file)]
    return sorted(Path(str(file.locate())) for file in found if str(file).endswith(".jpg"))
