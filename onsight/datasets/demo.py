"""The demo data set: electroluminescence photographs of solar cells, from the installed package elpv-dataset.

Version v1.0.0 holds the mono-crystalline cells, v2.0.0 all cells. A cell stays in its split between the versions, and
photographs of one cell share a split.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np

from onsight.config.dataset import DatasetConfig
from onsight.datasets.checkout import checkout_dataset
from onsight.datasets.duplicates import connected, fingerprint, near_duplicates
from onsight.datasets.importer import new_repository, write_working_copy
from onsight.datasets.layout import SPLITS, Annotation, write_metadata
from onsight.datasets.repository import DatasetRepository
from onsight.datasets.splitting import SplitItem, assign_splits
from onsight.domain import DatasetVersion
from onsight.errors import DatasetError
from onsight.images import decode_image

__all__ = ["DEMO_NAME", "DEMO_NOTICE", "build_demo"]

DEMO_NAME = "elpv"
DEMO_CLASSES = ("functional", "defective")
DEMO_NOTICE = """\
The photographs of the demo come from the ELPV data set (Buerhop-Lutz et al. 2018; Deitsch et al. 2019, 2021).
Their licence is CC BY-NC-SA 4.0: name the authors, no commercial use, share changes under the same licence.
https://creativecommons.org/licenses/by-nc-sa/4.0/   https://github.com/zae-bayern/elpv-dataset"""

# A quarter is for testing, as in the published evaluation (Deitsch et al., Solar Energy 185, 2019).
_FRACTIONS = (0.6, 0.15, 0.25)
_SEED = 2019
_DEFECTIVE_FROM = 0.5
_SAME_CELL_MAX_BITS = 10
_KINDS_BY_TAG = {"v1.0.0": ("mono",), "v2.0.0": ("mono", "poly")}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Cell:
    path: Path
    probability: float
    kind: str

    @property
    def labels(self) -> tuple[int, int]:
        defective = int(self.probability >= _DEFECTIVE_FROM)
        return 1 - defective, defective


def build_demo(ds_root: Path) -> DatasetVersion:
    """Build the demo data set with its two versions; where they are there, only check the newest one out.

    Args:
        ds_root: The folder of the data sets.

    Returns:
        The newest version.

    Raises:
        DatasetError: The package is not installed, or another data set of this name is in the way, or the data set
            holds uncommitted work.
    """
    repository = DatasetRepository(ds_root / DEMO_NAME)
    if not repository.root.exists():
        _build(ds_root)
    elif not repository.exists() or not set(_KINDS_BY_TAG) <= set(repository.git.tags()):
        raise DatasetError(f"{repository.root} is in the way: it is not the demo data set", "rename or remove it")
    else:
        _log.info("%s holds the demo data set already", repository.root)
    return checkout_dataset(DatasetConfig(ds_root=ds_root, ds_name=DEMO_NAME, dvc_tag=list(_KINDS_BY_TAG)[-1]))


def _build(ds_root: Path) -> None:
    cells = _read_cells()
    splits = _split(cells)
    try:
        with new_repository(ds_root, DEMO_NAME) as repository:
            for tag, kinds in _KINDS_BY_TAG.items():
                placed = {
                    Annotation(cell.path.name, split, cell.labels): cell.path
                    for cell, split in zip(cells, splits, strict=True)
                    if cell.kind in kinds
                }
                write_working_copy(repository.root, DEMO_CLASSES, placed, show_progress=False)
                write_metadata(repository.root, _metadata(tag, kinds, list(placed)))
                repository.add_version(tag, f"{DEMO_NAME} {tag}: {' and '.join(kinds)}-crystalline cells")
    except OSError as error:
        raise DatasetError(f"{ds_root} cannot be written: {error.strerror or error}") from error


def _read_cells() -> list[_Cell]:
    """The rows of the package's own table: image path, defect probability, kind of cell."""
    try:
        tables = [file for file in files("elpv-dataset") or [] if file.name == "labels.csv"]
    except PackageNotFoundError as error:
        raise DatasetError("the package elpv-dataset is not installed", "run: make dataset") from error
    if not tables:
        raise DatasetError("the package elpv-dataset holds no labels.csv", "install it again: make dataset")
    table = Path(str(tables[0].locate()))
    rows = [line.split() for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [_Cell(table.parent / path, float(probability), kind) for path, probability, kind in rows]


def _split(cells: Sequence[_Cell]) -> list[str]:
    groups = _same_cells(cells)
    items = [
        SplitItem((f"{DEMO_CLASSES[cell.labels[1]]} {cell.kind}",), str(group))
        for cell, group in zip(cells, groups, strict=True)
    ]
    return assign_splits(items, _FRACTIONS, _SEED)


def _same_cells(cells: Sequence[_Cell]) -> list[int]:
    """Groups of photographs that show one cell twice, or wafers cut beside each other: some 350 do."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        marks = list(pool.map(lambda cell: fingerprint(decode_image(cell.path.read_bytes())), cells))
    bits, thumbnails = np.array([mark.bits for mark in marks]), np.array([mark.thumbnail for mark in marks])
    return connected(len(cells), near_duplicates(bits, thumbnails, np.arange(len(cells)), _SAME_CELL_MAX_BITS))


def _metadata(tag: str, kinds: Sequence[str], rows: Sequence[Annotation]) -> dict[str, object]:
    return {
        "name": DEMO_NAME,
        "version": tag,
        "description": f"Electroluminescence photographs of {' and '.join(kinds)}-crystalline solar cells",
        "source": "package elpv-dataset 1.0.0.post1, https://github.com/zae-bayern/elpv-dataset",
        "licence": "CC BY-NC-SA 4.0",
        "labels": f"defective when the experts' defect probability is at least {_DEFECTIVE_FROM}, else functional",
        "classifier_type": "multi-class",
        "classes": list(DEMO_CLASSES),
        "images": len(rows),
        "split_sizes": {split: sum(row.split == split for row in rows) for split in SPLITS},
        "split_fractions": dict(zip(SPLITS, _FRACTIONS, strict=True)),
        "seed": _SEED,
    }
