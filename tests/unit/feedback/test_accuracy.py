"""Realised accuracy, against statsmodels and computations by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from statsmodels.stats.proportion import proportion_confint

from onsight.bundle import read_metadata
from onsight.bundle.metadata import dump_metadata, parse_metadata
from onsight.db import AccuracyRecord, AnsweredImage, OpinionSource, new_opinion, uuid7
from onsight.domain import BundleMetadata, ConfidenceMap
from onsight.errors import BundleError
from onsight.feedback import AccuracyCounter, describe_week
from onsight.feedback.accuracy import wilson_interval
from onsight.settings import Settings
from onsight.storage import open_store
from tests.servers.bundle import BundleStore

# A Wednesday; its ISO week began on Monday the 26th of February.
NOON = datetime(2024, 2, 28, 12, tzinfo=UTC)
MONDAY = datetime(2024, 2, 26, tzinfo=UTC)
MAP = ConfidenceMap((0.5, 0.9), (0.4, 0.8), 100)


@pytest.fixture
def metadata(bundle_store: BundleStore) -> BundleMetadata:
    return read_metadata(open_store(Settings(central_storage_url=bundle_store.url)), bundle_store.first)


def image(
    top: str, confidence: float = 0.9, *, days: float = 0, probabilities: tuple[float, ...] = ()
) -> AnsweredImage:
    return AnsweredImage(uuid7(), NOON + timedelta(days=days), top, confidence, probabilities, ())


def labelled(
    answered: AnsweredImage, *said: str, hours: float = 1, source: OpinionSource = "feedback"
) -> AnsweredImage:
    """With an opinion of one person for each label."""
    at = answered.created_at + timedelta(hours=hours)
    opinions = tuple(
        new_opinion(answered.prediction_id, label.split(), f"person {n}", at, source) for n, label in enumerate(said)
    )
    return replace(answered, opinions=(*answered.opinions, *opinions))


def measure(metadata: BundleMetadata, *images: AnsweredImage) -> dict[tuple[str, ...], AccuracyRecord]:
    counter = AccuracyCounter(metadata)
    for one in images:
        counter.add(one)
    return {
        (record.period, f"{record.starts_at:%m-%d}", record.group_by, record.class_name, record.source): record
        for record in counter.records(NOON)
    }


@pytest.mark.parametrize(("n_right", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (37, 40), (980, 1000)])
def test_wilson_interval_when_computed_then_agrees_with_statsmodels(n_right: int, n: int) -> None:
    interval = wilson_interval(n_right, n)

    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(n_right, n, method="wilson"), abs=1e-9)
    assert interval.value == n_right / n
    assert wilson_interval(0, 0) is None


def test_records_when_labels_arrive_then_count_by_day_week_and_class(metadata: BundleMetadata) -> None:
    found = measure(
        metadata,
        labelled(image("broken"), "broken", hours=1),
        labelled(image("broken"), "scratched", hours=2),
        labelled(image("functional", 0.5), "functional", hours=10),
        image("functional", 0.7),
        labelled(image("broken", days=-1), "broken", hours=3),
        image("broken", days=-3),
    )

    assert sorted({key[:2] for key in found}) == [
        *(("day", "02-25"), ("day", "02-27"), ("day", "02-28"), ("week", "02-19"), ("week", "02-26"))
    ]
    week = found["week", "02-26", "all", "", "arrived"]
    assert (week.n_predictions, week.n_labelled, week.n_right, week.n_disputed) == (5, 4, 3, 0)
    assert week.starts_at == MONDAY
    assert week.accuracy == 0.75
    assert (week.accuracy_low, week.accuracy_high) == pytest.approx(proportion_confint(3, 4, method="wilson"))
    assert week.expected_accuracy == pytest.approx((0.9 * 3 + 0.5 + 0.7) / 5)
    assert (week.delay_median_h, week.delay_p90_h) == pytest.approx((2.5, 7.9))
    day = found["day", "02-28", "all", "", "arrived"]
    assert (day.n_predictions, day.n_labelled, day.n_right) == (4, 3, 2)
    said = found["week", "02-26", "predicted", "broken", "arrived"]
    assert (said.n_predictions, said.n_labelled, said.n_right, said.expected_accuracy) == (3, 3, 2, None)
    known = found["week", "02-26", "labelled", "scratched", "arrived"]
    assert (known.n_predictions, known.n_labelled, known.n_right) == (1, 1, 0)
    empty = found["week", "02-19", "all", "", "arrived"]
    assert (empty.n_predictions, empty.n_labelled, empty.accuracy, empty.delay_median_h) == (1, 0, None, None)


def test_records_when_review_chose_the_image_then_are_kept_apart(metadata: BundleMetadata) -> None:
    both = labelled(labelled(image("broken"), "scratched", source="review"), "scratched", source="import")

    found = measure(
        metadata,
        labelled(image("broken"), "broken"),
        labelled(image("broken"), "scratched", source="review"),
        both,
    )

    arrived, review = (found["week", "02-26", "all", "", source] for source in ("arrived", "review"))
    assert (arrived.n_predictions, arrived.n_labelled, arrived.n_right) == (3, 2, 1)
    assert (review.n_predictions, review.n_labelled, review.n_right) == (3, 1, 0)


def test_records_when_people_differ_then_count_no_label(metadata: BundleMetadata) -> None:
    week = measure(metadata, labelled(image("broken"), "broken", "scratched"))["week", "02-26", "all", "", "arrived"]

    assert (week.n_labelled, week.n_right, week.n_disputed, week.delay_median_h) == (0, 0, 1, None)


def test_records_when_the_label_is_older_than_the_answer_then_the_delay_is_zero(metadata: BundleMetadata) -> None:
    week = measure(metadata, labelled(image("broken"), "broken", hours=-5))["week", "02-26", "all", "", "arrived"]

    assert week.delay_median_h == 0


def test_records_when_the_bundle_has_a_map_then_expect_what_it_says(metadata: BundleMetadata) -> None:
    images = [image("broken", confidence) for confidence in (0.5, 0.7, 0.9)]
    plain = measure(metadata, *images)["week", "02-26", "all", "", "arrived"]
    mapped = measure(replace(metadata, confidence_map=MAP), *images)["week", "02-26", "all", "", "arrived"]

    assert (plain.expected_accuracy, plain.is_calibrated) == (pytest.approx(0.7), False)
    assert (mapped.expected_accuracy, mapped.is_calibrated) == (pytest.approx(0.6), True)


def test_records_when_the_model_is_multi_label_then_the_whole_answer_must_be_right(metadata: BundleMetadata) -> None:
    marks = replace(metadata, classifier_type="multi-label", classes=("a", "b", "c"))
    answers = [image("a", 0.9, probabilities=(0.9, 0.8, 0.1)) for _ in range(3)]

    found = measure(marks, labelled(answers[0], "a b"), labelled(answers[1], "a"), labelled(answers[2], ""))

    week = found["week", "02-26", "all", "", "arrived"]
    assert (week.n_labelled, week.n_right) == (3, 1)
    assert week.expected_accuracy == pytest.approx(0.9 * 0.8 * 0.9)
    right = {key[2:4]: (record.n_labelled, record.n_right) for key, record in found.items() if key[2] != "all"}
    assert right == {
        ("predicted", "a"): (3, 2),
        ("predicted", "b"): (3, 1),
        ("labelled", "a"): (2, 2),
        ("labelled", "b"): (1, 1),
    }


def test_metadata_when_it_has_a_map_then_survives_its_file(metadata: BundleMetadata) -> None:
    mapped = replace(metadata, confidence_map=MAP)

    assert parse_metadata(dump_metadata(mapped), mapped.bundle_name) == mapped
    assert parse_metadata(dump_metadata(metadata), metadata.bundle_name) == metadata
    damaged = dump_metadata(mapped).replace(b"- 0.4", b"- 0.95")
    with pytest.raises(BundleError, match="in order"):
        parse_metadata(damaged, mapped.bundle_name)


def test_describe_week_when_labels_arrived_then_says_both_accuracies(metadata: BundleMetadata) -> None:
    images = [image("broken", 0.5), image("broken", days=-7)]

    silent = describe_week("cells-v1", list(measure(metadata, *images).values()))
    told = describe_week("cells-v1", list(measure(metadata, labelled(images[0], "broken"), images[1]).values()))

    start = "cells-v1, 2024-W09: 50.0% of 1 answers (uncalibrated) are expected to be right; "
    assert silent == f"{start}no label has arrived"
    assert told == f"{start}of the 1 labelled ones 100.0% are (20.7% to 100.0%)"
