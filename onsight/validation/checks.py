"""Our own checks of a data set: each answers with the problems it found, none raises."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onsight.config.dataset import ValidationConfig
from onsight.config.model import ModelConfig
from onsight.datasets.duplicates import near_duplicates
from onsight.domain import DatasetVersion
from onsight.validation.facts import DatasetFacts

__all__ = [
    "Problem",
    "class_imbalance",
    "colour_outliers",
    "exact_duplicates_across_splits",
    "label_set_mismatch",
    "near_duplicates_across_splits",
    "outliers",
    "size_outliers",
    "unreadable_images",
]

_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """What a check found: one sentence, and the images it is about, relative to the data set's root."""

    message: str
    images: tuple[str, ...] = ()


def unreadable_images(facts: DatasetFacts) -> list[Problem]:
    """Images that cannot be decoded."""
    if not facts.unreadable:
        return []
    reasons = [f"{name} ({reason})" for name, reason in facts.unreadable.items()]
    return [Problem(f"{len(reasons)} images cannot be read: {_listed(reasons)}", tuple(facts.unreadable))]


def label_set_mismatch(dataset: DatasetVersion, model: ModelConfig) -> list[Problem]:
    """Annotations, model and splits that do not speak of the same classes."""
    problems = []
    ours, theirs = dataset.classes, model.classes
    if set(ours) != set(theirs):
        unknown = ", ".join(name for name in ours if name not in theirs) or "none"
        absent = ", ".join(name for name in theirs if name not in ours) or "none"
        problems.append(
            Problem(
                f"the data set and model.classes differ: only in the data set {unknown}; only in the config {absent}"
            )
        )
    elif ours != theirs:
        problems.append(Problem(f"model.classes must be in the order of the annotations' columns: {', '.join(ours)}"))
    for split in dataset.splits.values():
        if not len(split):
            problems.append(Problem(f"the split {split.name} has no image"))
            continue
        counts = dataset.class_counts(split.name)
        empty = [name for name, count in counts.items() if count == 0]
        if empty:
            problems.append(Problem(f"the split {split.name} has no image of {', '.join(empty)}"))
        several = np.flatnonzero(split.labels.sum(axis=1) != 1)
        if model.classifier_type == "multi-class" and several.size:
            names = tuple(split.paths[row].relative_to(dataset.root).as_posix() for row in several)
            problems.append(
                Problem(
                    f"{len(names)} images of the split {split.name} do not have exactly one class, as "
                    f"classifier_type multi-class wants: {_listed(names)}",
                    names,
                )
            )
    return problems


def exact_duplicates_across_splits(facts: DatasetFacts) -> list[Problem]:
    """The same file in more than one split: what is tested was trained on."""
    places: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(facts.digests):
        places[digest].append(row)
    groups = [rows for rows in places.values() if len({facts.splits[row] for row in rows}) > 1]
    if not groups:
        return []
    texts = [" = ".join(facts.names[row] for row in rows) for rows in groups]
    images = tuple(facts.names[row] for rows in groups for row in rows)
    return [Problem(f"{len(groups)} images lie in more than one split: {_listed(texts)}", images)]


def near_duplicates_across_splits(facts: DatasetFacts, config: ValidationConfig) -> list[Problem]:
    """Photographs in different splits that show the same thing; exact copies are not named again."""
    _, parts = np.unique(facts.splits, return_inverse=True)
    pairs = near_duplicates(facts.hashes, facts.thumbnails, parts.astype(np.int64), config.near_duplicate_max_bits)
    pairs = [pair for pair in pairs if facts.digests[pair[0]] != facts.digests[pair[1]]]
    if not pairs:
        return []
    texts = [f"{facts.names[first]} ~ {facts.names[second]}" for first, second in pairs]
    images = tuple(dict.fromkeys(facts.names[row] for pair in pairs for row in pair))
    return [Problem(f"{len(pairs)} pairs of near duplicates lie in different splits: {_listed(texts)}", images)]


def class_imbalance(dataset: DatasetVersion, config: ValidationConfig) -> list[Problem]:
    """A training split whose largest class has many times the images of its smallest."""
    counts = dataset.class_counts("train")
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[most] <= config.max_class_ratio * counts[least]:
        return []
    return [
        Problem(
            f"the training split has {counts[most]} images of {most} and {counts[least]} of {least}: more than "
            f"{config.max_class_ratio:g} to 1"
        )
    ]


def size_outliers(facts: DatasetFacts, config: ValidationConfig) -> list[Problem]:
    """Images far larger, smaller, wider or higher than the rest; compared as ratios."""
    area = np.log(facts.column("width") * facts.column("height"))
    aspect = np.log(facts.column("aspect"))
    # Where nearly all images have one size the quartiles coincide; a twentieth is no outlier even then.
    found = outliers(area, config.outlier_iqr_factor, 0.05) | outliers(aspect, config.outlier_iqr_factor, 0.05)
    sizes = [f"{w:.0f} x {h:.0f}" for w, h in zip(facts.column("width"), facts.column("height"), strict=True)]
    return _outlier_problem(facts, found, "an unusual size", sizes)


def colour_outliers(facts: DatasetFacts, config: ValidationConfig) -> list[Problem]:
    """Images far brighter, darker, more colourful or of another tint than the rest."""
    columns = {
        "brightness": facts.column("brightness"),
        "saturation": facts.column("saturation"),
        "red against green": facts.column("red") - facts.column("green"),
        "blue against green": facts.column("blue") - facts.column("green"),
    }
    found = np.zeros(len(facts.names), np.bool_)
    reasons = [""] * len(facts.names)
    for name, values in columns.items():
        own = outliers(values, config.outlier_iqr_factor, 0.01)
        found |= own
        for row in np.flatnonzero(own):
            reasons[row] = reasons[row] or f"{name} {values[row]:.2f}, median {np.median(values):.2f}"
    return _outlier_problem(facts, found, "unusual colours", reasons)


def outliers(values: NDArray[np.float64], factor: float, least_spread: float) -> NDArray[np.bool_]:
    """Values beyond the quartiles by more than ``factor`` interquartile ranges (Tukey's fences).

    Args:
        values: float64 [N].
        factor: Distance in interquartile ranges.
        least_spread: Taken as the interquartile range where that is smaller.

    Returns:
        bool [N].
    """
    if not values.size:
        return np.zeros(0, np.bool_)
    low, high = np.percentile(values, [25, 75])
    reach = factor * max(high - low, least_spread)
    beyond: NDArray[np.bool_] = (values < low - reach) | (values > high + reach)
    return beyond


def _outlier_problem(facts: DatasetFacts, found: NDArray[np.bool_], what: str, details: Sequence[str]) -> list[Problem]:
    rows = np.flatnonzero(found)
    if not rows.size:
        return []
    texts = [f"{facts.names[row]} ({details[row]})" for row in rows]
    return [Problem(f"{len(rows)} images have {what}: {_listed(texts)}", tuple(facts.names[row] for row in rows))]


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
