"""Detectors and reference data on disk: JSON, npz and Parquet, so that nothing is ever unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from onsight.drift.alibi import AlibiDetector
from onsight.drift.detector import DetectorSpec, DriftDetector
from onsight.drift.native import NativeDetector
from onsight.errors import BundleError

__all__ = ["ReferenceData", "fit_detector", "load_detector", "read_reference", "save_detector", "write_reference"]

_SPEC, _ROWS = "detector.json", "reference.npz"


@dataclass(frozen=True)
class ReferenceData:
    """Features of held-out images: row i of each belongs to the same image.

    Attributes:
        images: Paths relative to the data set's root, R of them.
        labels: Class names of each image.
        uae_features: float32 [R, D].
        bbsd_features: float32 [R, C].
    """

    images: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    uae_features: NDArray[np.float32]
    bbsd_features: NDArray[np.float32]


def fit_detector(spec: DetectorSpec, reference: ArrayLike) -> DriftDetector:
    """A detector for ``spec`` on reference features [R, D]."""
    return (AlibiDetector if spec.library == "alibi-detect" else NativeDetector)(spec, reference)


def save_detector(detector: DriftDetector, directory: Path) -> None:
    """Write a detector's spec and reference rows."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _SPEC).write_text(json.dumps(asdict(detector.spec), indent=2) + "\n", encoding="utf-8")
    np.savez_compressed(directory / _ROWS, reference=detector.reference)


def load_detector(directory: Path) -> DriftDetector:
    """Read a detector that ``save_detector`` wrote.

    Raises:
        BundleError: If a file is missing or damaged.
    """
    try:
        spec = DetectorSpec(**json.loads((directory / _SPEC).read_text(encoding="utf-8")))
        with np.load(directory / _ROWS, allow_pickle=False) as arrays:
            reference = arrays["reference"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"the drift detector in {directory} cannot be read: {error}", hint="publish the version again"
        ) from error
    return fit_detector(spec, reference)


def write_reference(data: ReferenceData, path: Path) -> None:
    """Write reference data as Parquet: columns image, label, uae_feats, bbsd_feats."""
    table = pa.table(
        {
            "image": pa.array(data.images, pa.string()),
            "label": pa.array([list(names) for names in data.labels], pa.list_(pa.string())),
            "uae_feats": pa.array(data.uae_features.tolist(), pa.list_(pa.float32())),
            "bbsd_feats": pa.array(data.bbsd_features.tolist(), pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, path)


def read_reference(path: Path) -> ReferenceData:
    """Read what ``write_reference`` wrote.

    Raises:
        BundleError: If the file is missing, damaged, or lacks a column.
    """
    try:
        columns = pq.read_table(path, columns=["image", "label", "uae_feats", "bbsd_feats"]).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise BundleError(f"the reference data {path} cannot be read: {error}") from error
    return ReferenceData(
        images=tuple(columns["image"]),
        labels=tuple(tuple(names) for names in columns["label"]),
        uae_features=np.asarray(columns["uae_feats"], dtype=np.float32),
        bbsd_features=np.asarray(columns["bbsd_feats"], dtype=np.float32),
    )
