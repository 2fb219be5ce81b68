"""How right each version was on its own traffic, as labels arrive, and how right it is expected to be before."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np

from onsight.bundle import metadata_key, read_metadata
from onsight.db import (
    AccuracyGroup,
    AccuracyPeriod,
    AccuracyRecord,
    AnsweredImage,
    Database,
    LabelArrival,
    answered_images,
    answered_versions,
    decide_label,
    replace_accuracy,
)
from onsight.domain import BundleMetadata, Interval
from onsight.evaluation import THRESHOLD, answer_confidence, expected_accuracy
from onsight.storage import ArtifactStore

__all__ = ["AccuracyCounter", "measure_accuracy", "measure_version", "wilson_interval"]

_LOG = logging.getLogger(__name__)
_CONFIDENCE = 0.95
_DELAY_QUANTILE = 0.9
_SECONDS_PER_HOUR = 3600
_AT_ONCE = 5_000


class _Cell(NamedTuple):
    """What one record is about."""

    period: AccuracyPeriod
    starts_at: datetime
    group_by: AccuracyGroup
    class_name: str


@dataclass
class _Labels:
    """The labels of a cell that came one way."""

    n: int = 0
    n_right: int = 0
    n_disputed: int = 0
    delays_h: list[float] = field(default_factory=list)


@dataclass
class _Tally:
    """What a cell holds."""

    n: int = 0
    expected: float = 0.0
    labels: dict[LabelArrival, _Labels] = field(default_factory=lambda: defaultdict(_Labels))


def measure_accuracy(
    database: Database, store: ArtifactStore, weeks: int, now: datetime | None = None
) -> dict[str, list[AccuracyRecord]]:
    """Measure every version that answered in this ISO week or the ``weeks`` before it, and write what was found.

    Labels arrive late: a week is measured anew as long as it is among them, and its predictions are all there; after
    that its rows stay as they are.

    Args:
        database: With its tables made.
        store: Holds the bundles; a version whose bundle is gone is passed over.
        weeks: Whole weeks before this one.
        now: Of the measurement.

    Returns:
        What the table holds of these weeks now, by bundle name.

    Raises:
        DependencyError: The database does not answer.
        StorageError: Central storage does not answer.
        BundleError: A version's metadata cannot be read.
    """
    now = now or datetime.now(UTC)
    since = _monday(now.astimezone(UTC).date()) - timedelta(weeks=weeks)
    measured = {}
    for model_name, version in answered_versions(database, since):
        name = f"{model_name}-v{version}"
        if not store.exists(metadata_key(name)):
            _LOG.warning("the accuracy of %s cannot be measured: central storage no longer holds it", name)
            continue
        records = measure_version(database, read_metadata(store, name), since, now)
        measured[name] = replace_accuracy(database, model_name, version, since, records)
    return measured


def measure_version(
    database: Database, metadata: BundleMetadata, since: datetime, now: datetime
) -> list[AccuracyRecord]:
    """A version's accuracy by day and week, and by class and week; nothing is written.

    Raises:
        DependencyError: The database does not answer.
    """
    counter = AccuracyCounter(metadata)
    is_multi_label = metadata.classifier_type == "multi-label"
    images = answered_images(database, metadata.model_name, metadata.version, since, with_probabilities=is_multi_label)
    for image in images:
        counter.add(image)
    return counter.records(now)


class AccuracyCounter:
    """Counts the predictions of one version, in memory that grows with the labels and periods alone."""

    def __init__(self, metadata: BundleMetadata) -> None:
        self._metadata = metadata
        self._is_multi_label = metadata.classifier_type == "multi-label"
        self._tallies: dict[_Cell, _Tally] = defaultdict(_Tally)
        # What most images need is gathered by day first, and turned into counts by the thousand.
        self._answers: Counter[tuple[date, frozenset[str]]] = Counter()
        self._confidences: dict[date, list[float]] = defaultdict(list)
        self._n_waiting = 0

    def add(self, image: AnsweredImage) -> None:
        """Counts a prediction."""
        answer, day = self._answer(image), image.created_at.date()
        self._answers[day, answer] += 1
        self._confidences[day].append(self._confidence(image))
        self._n_waiting += 1
        if self._n_waiting >= _AT_ONCE:
            self._count_waiting()
        if image.opinions:
            self._add_label(image, answer)

    def records(self, measured_at: datetime) -> list[AccuracyRecord]:
        """Everything that was counted, in a fixed order."""
        self._count_waiting()
        cells = sorted(self._tallies, key=lambda cell: (cell.period, cell.starts_at, cell.group_by, cell.class_name))
        return [record for cell in cells for record in self._records_of(cell, measured_at)]

    def _answer(self, image: AnsweredImage) -> frozenset[str]:
        if not self._is_multi_label:
            return frozenset((image.top_class,))
        said = zip(self._metadata.classes, image.probabilities, strict=True)
        return frozenset(name for name, probability in said if probability >= THRESHOLD)

    def _confidence(self, image: AnsweredImage) -> float:
        if not self._is_multi_label:
            return image.confidence
        return float(answer_confidence(np.asarray([image.probabilities]), is_multi_label=True)[0])

    def _count_waiting(self) -> None:
        for (day, answer), n in self._answers.items():
            for cell in _cells_of_answer(day, answer):
                self._tallies[cell].n += n
        for day, confidences in self._confidences.items():
            expected = float(expected_accuracy(np.array(confidences), self._metadata.confidence_map).sum())
            for cell in _cells_of_all(day):
                self._tallies[cell].expected += expected
        self._answers.clear()
        self._confidences.clear()
        self._n_waiting = 0

    def _add_label(self, image: AnsweredImage, answer: frozenset[str]) -> None:
        # A label that would have come anyway counts as such, even if the image was also chosen for review.
        is_chosen = all(opinion.source == "review" for opinion in image.opinions)
        arrival: LabelArrival = "review" if is_chosen else "arrived"
        decided = decide_label(image.opinions).labels
        label = frozenset(decided or ())
        first = min(opinion.labelled_at for opinion in image.opinions)
        delay_h = max(0.0, (first - image.created_at).total_seconds() / _SECONDS_PER_HOUR)
        day = image.created_at.date()
        for cell in _cells_of_answer(day, answer):
            is_right = label == answer if cell.group_by == "all" else cell.class_name in label
            _count(self._tallies[cell].labels[arrival], delay_h, is_right=None if decided is None else is_right)
        for cell in _cells_of_label(day, label):
            self._tallies[cell].n += 1
            _count(self._tallies[cell].labels[arrival], delay_h, is_right=cell.class_name in answer)

    def _records_of(self, cell: _Cell, measured_at: datetime) -> Iterator[AccuracyRecord]:
        tally = self._tallies[cell]
        arrivals: dict[LabelArrival, _Labels] = {"arrived": tally.labels["arrived"]}
        if "review" in tally.labels:
            arrivals["review"] = tally.labels["review"]
        for arrival, labels in arrivals.items():
            interval = wilson_interval(labels.n_right, labels.n)
            yield AccuracyRecord(
                model_name=self._metadata.model_name,
                model_version=self._metadata.version,
                **cell._asdict(),
                source=arrival,
                n_predictions=tally.n,
                n_labelled=labels.n,
                n_right=labels.n_right,
                n_disputed=labels.n_disputed,
                accuracy=interval.value if interval else None,
                accuracy_low=interval.low if interval else None,
                accuracy_high=interval.high if interval else None,
                expected_accuracy=tally.expected / tally.n if cell.group_by == "all" else None,
                is_calibrated=self._metadata.confidence_map is not None,
                delay_median_h=_quantile(labels.delays_h, 0.5),
                delay_p90_h=_quantile(labels.delays_h, _DELAY_QUANTILE),
                measured_at=measured_at,
            )


def wilson_interval(n_right: int, n: int) -> Interval | None:
    """A share with its 95 % score interval (Wilson, 1927); None of nothing."""
    if n == 0:
        return None
    from scipy.stats import binomtest

    interval = binomtest(n_right, n).proportion_ci(_CONFIDENCE, method="wilson")
    return Interval(n_right / n, float(interval.low), float(interval.high))


def _count(labels: _Labels, delay_h: float, *, is_right: bool | None) -> None:
    """Counts a label; None: people do not agree on it."""
    if is_right is None:
        labels.n_disputed += 1
        return
    labels.n += 1
    labels.n_right += is_right
    labels.delays_h.append(delay_h)


def _cells_of_answer(day: date, answer: Iterable[str]) -> Iterator[_Cell]:
    yield from _cells_of_all(day)
    for name in answer:
        yield _Cell("week", _monday(day), "predicted", name)


def _cells_of_label(day: date, label: Iterable[str]) -> Iterator[_Cell]:
    for name in label:
        yield _Cell("week", _monday(day), "labelled", name)


def _cells_of_all(day: date) -> Iterator[_Cell]:
    yield _Cell("day", datetime.combine(day, time.min, UTC), "all", "")
    yield _Cell("week", _monday(day), "all", "")


def _monday(day: date) -> datetime:
    """Midnight UTC of the Monday of a day's ISO week."""
    return datetime.combine(day - timedelta(days=day.weekday()), time.min, UTC)


def _quantile(values: list[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None
