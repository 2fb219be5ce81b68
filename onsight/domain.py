"""The values that travel between the parts of the platform: frozen, typed, free of behaviour with side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BundleMetadata",
    "CheckFinding",
    "ConfidenceMap",
    "DatasetVersion",
    "DriftTest",
    "DriftVerdict",
    "GateVerdict",
    "Interval",
    "ModelOutput",
    "ModelVersion",
    "ScoredSplit",
    "Split",
    "ValidationVerdict",
    "Variant",
]

# Of a serving graph: as it was trained, or with its convolutions in 8-bit integers.
Variant = Literal["fp32", "int8"]
FloatArray = NDArray[np.float32]
DriftTest = Literal["uae", "bbsd", "class_mix", "confidence", "properties", "combined"]


@dataclass(frozen=True)
class Split:
    """One split of a data set, in the annotation file's order.

    Attributes:
        name: train, valid or test.
        paths: Absolute image paths, N of them.
        labels: float32 [N, C], 0 or 1; rows sum to 1 for multi-class.
    """

    name: str
    paths: tuple[Path, ...]
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class DatasetVersion:
    """A data set at one tag, as it lies on disk.

    Attributes:
        tag: The git tag, or the revision where none was asked for.
        revision: Git's full commit hash.
        splits: By name; every split of the annotation file.
    """

    name: str
    tag: str
    revision: str
    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, Split]

    def split_sizes(self) -> dict[str, int]:
        """Images by split."""
        return {name: len(split) for name, split in self.splits.items()}

    def class_counts(self, split: str) -> dict[str, int]:
        """Images by class in one split; in a multi-label set an image counts for each of its classes."""
        return dict(zip(self.classes, self.splits[split].labels.sum(axis=0).astype(int).tolist(), strict=True))


@dataclass(frozen=True)
class CheckFinding:
    """One thing that a validation check found.

    Attributes:
        images: The images it is about, relative to the data set's root (may be empty).
    """

    check: str
    severity: Literal["error", "warning"]
    message: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class ValidationVerdict:
    """What validation found, all checks together."""

    findings: tuple[CheckFinding, ...]
    reports: tuple[Path, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)


@dataclass(frozen=True)
class ModelOutput:
    """What the serving graph answers for a batch of N images.

    Attributes:
        probabilities: float32 [N, C].
        uae_features: float32 [N, D], the untrained encoder's.
        bbsd_features: float32 [N, C], the classification layer's.
        activation_map: float32 [N, h, w], class activation of each image's top class.
    """

    probabilities: FloatArray
    uae_features: FloatArray
    bbsd_features: FloatArray
    activation_map: FloatArray


@dataclass(frozen=True)
class ScoredSplit:
    """Images, labels and probabilities from one unshuffled pass: row i of each belongs to the same image."""

    name: str
    paths: tuple[Path, ...]
    labels: FloatArray
    probabilities: FloatArray
    classes: tuple[str, ...]
    classifier_type: Literal["multi-class", "multi-label"] = "multi-class"


@dataclass(frozen=True)
class Interval:
    """A measured value with its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class GateVerdict:
    """The promotion gate's answer.

    Attributes:
        reasons: Why it passed or failed, one sentence each.
        champion: The version compared with, or None for the first model.
        difference: The challenger's gain on ``metric``, or None for the first model.
        p_value: Of the test's null hypothesis (paired bootstrap: the share of resamples with a loss larger than
            allowed; McNemar: exact, two-sided), or None for the first model.
    """

    passed: bool
    reasons: tuple[str, ...]
    metric: str
    challenger: str
    challenger_value: Interval
    champion: str | None = None
    champion_value: Interval | None = None
    difference: Interval | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class DriftVerdict:
    """One test of a window of features against the reference.

    Attributes:
        features: What was tested; ``combined`` is the verdict over all tests of a window.
        is_drift: None when the window is too small for a verdict, or the test does not apply.
        p_value: Of the whole test, corrected for the number of features, and in a judgement of several tests for
            their number too; compared with ``threshold``.
        tested: False when the test does not apply: the window or the reference lacks what it looks at.
    """

    features: DriftTest
    detector: str
    is_drift: bool | None
    p_value: float | None
    threshold: float
    statistic: float | None
    n_reference: int
    n_window: int
    tested: bool = True

    @property
    def outcome(self) -> Literal["drift", "no drift", "not enough data", "not tested"]:
        """The verdict in words."""
        if not self.tested:
            return "not tested"
        if self.is_drift is None:
            return "not enough data"
        return "drift" if self.is_drift else "no drift"


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model.

    Attributes:
        created_at: UTC; None where the registry was not asked.
    """

    model_name: str
    version: int
    run_id: str
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None

    @property
    def bundle_name(self) -> str:
        """The name of this version's bundle in central storage."""
        return f"{self.model_name}-v{self.version}"


@dataclass(frozen=True)
class ConfidenceMap:
    """How often a version was right at which confidence, on the images that it was evaluated on.

    Attributes:
        confidences: Increasing; between two of them the accuracy changes linearly, beyond them it stays.
        accuracies: Never decreasing, one for each confidence.
        n_images: That it was measured on.
    """

    confidences: tuple[float, ...]
    accuracies: tuple[float, ...]
    n_images: int

    def __post_init__(self) -> None:
        """Refuses what is no map: it is read from files.

        Raises:
            ValueError: Not as many accuracies as confidences, none, or not in order.
        """
        is_ordered = all(
            list(values) == sorted(values) and all(0 <= value <= 1 for value in values)
            for values in (self.confidences, self.accuracies)
        )
        if not self.confidences or len(self.confidences) != len(self.accuracies) or not is_ordered:
            raise ValueError("confidences and accuracies must be as many, from 0 to 1 and in order")


@dataclass(frozen=True)
class BundleMetadata:
    """What ``models/<model>.yaml`` says of a bundle: enough to serve it, explain it and watch it.

    Attributes:
        variants: Of the serving graph; bundles of older releases do not say, and have the first alone.
        confidence_map: None in bundles that were published before there were any.
    """

    model_name: str
    version: int
    classes: tuple[str, ...]
    classifier_type: Literal["multi-class", "multi-label"]
    architecture: str
    input_width: int
    input_height: int
    uae_dims: int
    run_id: str
    created_at: datetime
    dataset_name: str
    dataset_tag: str
    dataset_revision: str
    metrics: Mapping[str, float]
    drift_detector: Literal["native", "alibi-detect"]
    drift_test: Literal["ks", "mmd"]
    drift_p_value: float
    reference_rows: int
    sha256: str
    format_version: int = 1
    variants: tuple[Variant, ...] = ("fp32",)
    confidence_map: ConfidenceMap | None = None

    @property
    def bundle_name(self) -> str:
        """``<model_name>-v<version>``."""
        return f"{self.model_name}-v{self.version}"
