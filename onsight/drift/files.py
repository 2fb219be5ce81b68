"""Detectors and reference data on disk: JSON, npz and Parquet, so that nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
_FEATURES = ("uae_feats", "bbsd_feats", "probabilities")
_PROPERTIES = ("brightness", "contrast", "sharpness", "width", "height")


@dataclass(frozen=True)
class ReferenceData:
    """Features of held-out images: row i of each belongs to the same image.

    Attributes:
        images: Paths relative to the data set's root, R of them.
        labels: Class names of each image.
        uae_features: float32 [R, D].
        bbsd_features: float32 [R, C].
        probabilities: float32 [R, C]; None in a bundle of an older release.
        properties: float64 [R] each, by name: brightness, contrast and sharpness as ``onsight.images.ImageProperties``
            says, width and height of the file in pixels. Empty in a bundle of an older release.
        formats: Pillow's names; empty in a bundle of an older release.
    """

    images: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    uae_features: NDArray[np.float32]
    bbsd_features: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None = None
    properties: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    formats: tuple[str, ...] = ()


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
    """Write reference data as Parquet: columns image, label, uae_feats, bbsd_feats, and what else there is of them."""
    columns = {
        "image": pa.array(data.images, pa.string()),
        "label": pa.array([list(names) for names in data.labels], pa.list_(pa.string())),
        "uae_feats": pa.array(data.uae_features.tolist(), pa.list_(pa.float32())),
        "bbsd_feats": pa.array(data.bbsd_features.tolist(), pa.list_(pa.float32())),
    }
    if data.probabilities is not None:
        columns["probabilities"] = pa.array(data.probabilities.tolist(), pa.list_(pa.float32()))
    columns |= {name: pa.array(values, pa.float64()) for name, values in data.properties.items()}
    if data.formats:
        columns["format"] = pa.array(data.formats, pa.string())
    pq.write_table(pa.table(columns), path)


def read_reference(path: Path) -> ReferenceData:
    """Read what ``write_reference`` wrote, now or in an older release.

    Raises:
        BundleError: If the file is missing, damaged, or lacks a column that every release wrote.
    """
    try:
        columns = pq.read_table(path).to_pydict()
        feats = {name: np.asarray(columns[name], dtype=np.float32) for name in _FEATURES if name in columns}
        return ReferenceData(
            images=tuple(columns["image"]),
            labels=tuple(tuple(names) for names in columns["label"]),
            uae_features=feats["uae_feats"],
            bbsd_features=feats["bbsd_feats"],
            probabilities=feats.get("probabilities"),
            properties={name: np.asarray(columns[name], np.float64) for name in _PROPERTIES if name in columns},
            formats=tuple(columns.get("format", ())),
        )
    except KeyError as error:
        raise BundleError(f"the reference data {path} lacks the column {error}") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BundleError(f"the reference data {path} cannot be read: {error}") from error
