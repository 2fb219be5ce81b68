"""Drift detectors behind one protocol, and the reference data they are fitted on."""

from onsight.drift.detector import MIN_WINDOW_ROWS, DetectorSpec, DriftDetector
from onsight.drift.files import (
    ReferenceData,
    fit_detector,
    load_detector,
    read_reference,
    save_detector,
    write_reference,
)
from onsight.drift.reference import sample_reference

__all__ = [
    "MIN_WINDOW_ROWS",
    "DetectorSpec",
    "DriftDetector",
    "ReferenceData",
    "fit_detector",
    "load_detector",
    "read_reference",
    "sample_reference",
    "save_detector",
    "write_reference",
]
