"""Drift detectors behind one protocol, and the reference data they are fitted on."""

from onsight.drift.detector import MIN_WINDOW_ROWS, DetectorSpec, DriftDetector
from onsight.drift.effects import FeatureEffect
from onsight.drift.files import (
    ReferenceData,
    fit_detector,
    load_detector,
    read_reference,
    save_detector,
    write_reference,
)
from onsight.drift.judgement import DRIFT_TESTS, DriftPolicy, Judgement, judge_sample
from onsight.drift.pages import PAGES, DriftPage
from onsight.drift.reference import sample_reference
from onsight.drift.sample import PROPERTIES, DriftSample

__all__ = [
    "DRIFT_TESTS",
    "MIN_WINDOW_ROWS",
    "PAGES",
    "PROPERTIES",
    "DetectorSpec",
    "DriftDetector",
    "DriftPage",
    "DriftPolicy",
    "DriftSample",
    "FeatureEffect",
    "Judgement",
    "ReferenceData",
    "fit_detector",
    "judge_sample",
    "load_detector",
    "read_reference",
    "sample_reference",
    "save_detector",
    "write_reference",
]
