"""Accuracy that is expected from confidence: near the truth while its assumption holds, and off when it does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from onsight.domain import ConfidenceMap, ScoredSplit
from onsight.evaluation import answer_confidence, expected_accuracy, fit_confidence_map

MakeSplit = Callable[..., ScoredSplit]


@pytest.mark.parametrize("multi_label", [False, True], ids=["multi-class", "multi-label"])
def test_fit_when_applied_to_its_own_split_then_expects_its_accuracy(make_split: MakeSplit, multi_label: bool) -> None:
    scored = make_split(n=500, n_classes=3, multi_label=multi_label)
    confidences = answer_confidence(scored.probabilities, is_multi_label=multi_label)
    said = scored.probabilities >= 0.5 if multi_label else np.eye(3)[scored.probabilities.argmax(axis=1)] > 0
    is_right = (said == (scored.labels > 0)).all(axis=1)

    fitted = fit_confidence_map(scored)

    expected = expected_accuracy(confidences, fitted)
    assert expected.mean() == pytest.approx(is_right.mean(), abs=1e-9)
    assert fitted.n_images == 500
    other = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(confidences, is_right)
    assert expected == pytest.approx(other.predict(confidences))


def test_answer_confidence_when_multi_label_then_is_that_of_the_whole_answer() -> None:
    probabilities = np.array([[0.9, 0.2, 0.5], [0.1, 0.1, 0.1]])

    assert answer_confidence(probabilities, is_multi_label=True) == pytest.approx([0.9 * 0.8 * 0.5, 0.9**3])
    assert answer_confidence(probabilities, is_multi_label=False) == pytest.approx([0.9, 0.1])


def test_expected_accuracy_when_there_is_no_map_then_is_the_confidence() -> None:
    assert expected_accuracy(np.array([0.3, 0.9]), None) == pytest.approx([0.3, 0.9])


def test_expected_accuracy_when_beyond_the_map_then_stays_at_its_ends() -> None:
    found = expected_accuracy(np.array([0.1, 0.6, 0.99]), ConfidenceMap((0.5, 0.7), (0.4, 0.8), 10))

    assert found == pytest.approx([0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    ("confidences", "accuracies"),
    [((), ()), ((0.5,), ()), ((0.7, 0.5), (0.1, 0.2)), ((0.5, 0.7), (0.2, 0.1)), ((0.5,), (1.1,)), ((math.nan,), (1,))],
    ids=["empty", "lengths", "order", "falling", "above-one", "nan"],
)
def test_confidence_map_when_it_is_none_then_refuses(confidences: Any, accuracies: Any) -> None:
    with pytest.raises(ValueError, match="in order"):
        ConfidenceMap(confidences, accuracies, 10)


@dataclass(frozen=True)
class HeldOut:
    """Real images that a classifier never saw, and what it says of them."""

    probabilities: np.ndarray[Any, Any]
    is_right: np.ndarray[Any, Any]
    is_odd: np.ndarray[Any, Any]
    fitted: ConfidenceMap

    def gap(self, weights: np.ndarray[Any, Any]) -> float:
        """Expected minus real accuracy on traffic that has the images in these proportions."""
        confidences = answer_confidence(self.probabilities, is_multi_label=False)
        expected = np.average(expected_accuracy(confidences, self.fitted), weights=weights)
        return float(expected - np.average(self.is_right, weights=weights))


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    """Handwritten digits, of which the classifier sees the upper three of eight rows: 8 or 9, one in five, or not."""
    digits = load_digits()
    images, labels = digits.data[:, :24], np.isin(digits.target, (8, 9)).astype(int)
    order = np.random.default_rng(0).permutation(len(images))
    train, test, later = order[:500], order[500:1150], order[1150:]
    classifier = LogisticRegression(max_iter=5000, C=0.01).fit(images[train], labels[train])
    tested, answered = (classifier.predict_proba(images[part]) for part in (test, later))
    scored = ScoredSplit(
        "test",
        tuple(Path(str(i)) for i in test),
        np.eye(2, dtype=np.float32)[labels[test]],
        tested.astype(np.float32),
        ("rest", "odd"),
    )
    return HeldOut(answered, answered.argmax(axis=1) == labels[later], labels[later] == 1, fit_confidence_map(scored))


def test_estimate_when_traffic_is_like_the_test_set_then_is_near_the_truth(held_out: HeldOut) -> None:
    n = len(held_out.is_right)
    # The truth of either split is known to about so much.
    error = math.sqrt(
        held_out.is_right.mean() * (1 - held_out.is_right.mean()) * (1 / n + 1 / held_out.fitted.n_images)
    )

    assert 0.75 < held_out.is_right.mean() < 0.97
    assert abs(held_out.gap(np.ones(n))) < 2.6 * error


def test_estimate_when_images_become_harder_then_follows_the_truth(held_out: HeldOut) -> None:
    """What is hard shows in the image: P(label | image) stays, which is what the estimate assumes."""
    confidences = answer_confidence(held_out.probabilities, is_multi_label=False)
    harder = np.where(confidences < 0.8, 5.0, 1.0)
    drop = np.average(held_out.is_right) - np.average(held_out.is_right, weights=harder)

    assert drop > 0.07
    assert abs(held_out.gap(harder)) < drop / 2


def test_estimate_when_the_class_mix_shifts_then_is_off(held_out: HeldOut) -> None:
    """A class that becomes frequent changes P(label | image), and no confidence shows it: labels are needed."""
    shifted = np.where(held_out.is_odd, 8.0, 1.0)

    assert held_out.gap(shifted) > 0.1
