"""The choice of the review queue: budget, shares, diversity, and the same answer every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onsight.review.selection import (
    Candidate,
    Choice,
    Reason,
    SelectionRules,
    choose,
    dispute_scores,
    feature_scale,
    uncertainty,
)

NOTHING = np.empty((0, 2))
EQUAL: dict[Reason, float] = {"disputed": 0.2, "drifted": 0.4, "uncertain": 0.4}


def rules(budget: int, min_distance: float = 0.1, **shares: float) -> SelectionRules:
    return SelectionRules(budget, shares or EQUAL, min_distance)  # type: ignore[arg-type]


def candidate(n: int, features: tuple[float, float], **scores: float) -> Candidate:
    return Candidate(f"p{n:04}", f"{n:064x}", np.array(features), scores)  # type: ignore[arg-type]


def spread(count: int, reason: str, first: int = 0) -> list[Candidate]:
    """Far apart; the score falls."""
    return [candidate(first + n, (float(n), float(first)), **{reason: 1 - n / 1000}) for n in range(count)]


def ids(choices: list[Choice], reason: str | None = None) -> list[str]:
    return [choice.prediction_id for choice in choices if reason in (None, choice.reason)]


def always(_: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("probabilities", "is_multi_label", "expected"),
    [
        ([0.5, 0.5], False, 1.0),
        ([1.0, 0.0], False, 0.0),
        ([0.2, 0.5, 0.3], False, 0.8),
        ([0.9, 0.1, 0.5], True, 1.0),
        ([1.0, 0.0, 1.0], True, 0.0),
        ([0.9, 0.25, 0.0], True, 0.5),
    ],
    ids=["tie", "sure", "margin", "one class undecided", "all decided", "half decided"],
)
def test_uncertainty_is_one_for_a_toss_up(probabilities: list[float], is_multi_label: bool, expected: float) -> None:
    found = uncertainty(np.array([probabilities, probabilities]), is_multi_label=is_multi_label)

    np.testing.assert_allclose(found, [expected, expected])


def test_dispute_scores_count_each_persons_last_opinion() -> None:
    opinions = [
        ("agreed", "ann", ["cat"]), ("agreed", "bob", ["cat"]),
        ("alone", "ann", ["cat"]),
        ("mended", "ann", ["cat"]), ("mended", "bob", ["dog"]), ("mended", "ann", ["dog"]),
        ("half", "ann", ["cat"]), ("half", "bob", ["dog"]),
        ("third", "ann", ["cat"]), ("third", "bob", ["cat"]), ("third", "cem", ["dog"]),
        ("order", "ann", ["cat", "dog"]), ("order", "bob", ["dog", "cat"]),
    ]  # fmt: skip

    assert dispute_scores(opinions) == {"half": 0.5, "third": pytest.approx(1 / 3)}


def test_choose_when_there_is_plenty_then_gives_each_reason_its_share() -> None:
    candidates = [*spread(50, "uncertain"), *spread(50, "drifted", 100), *spread(50, "disputed", 200)]

    found = choose(candidates, NOTHING, rules(20, min_distance=0), always)

    assert [len(ids(found, reason)) for reason in ("disputed", "drifted", "uncertain")] == [4, 8, 8]
    assert ids(found, "drifted")[0] == "p0100"  # the strongest is always among them


def test_choose_when_a_reason_has_too_few_then_the_others_take_its_share() -> None:
    candidates = [*spread(50, "uncertain"), *spread(1, "drifted", 100)]

    found = choose(candidates, NOTHING, rules(10, min_distance=0), always)

    assert len(found) == 10
    assert ids(found, "drifted") == ["p0100"]


def test_choose_when_a_reason_has_no_share_then_never_takes_it() -> None:
    candidates = [*spread(5, "uncertain"), *spread(5, "drifted", 100)]

    found = choose(candidates, NOTHING, rules(10, 0, drifted=1.0, uncertain=0.0), always)

    assert {choice.reason for choice in found} == {"drifted"}


def test_choose_when_images_are_alike_then_takes_one_of_them() -> None:
    burst = [candidate(n, (0.001 * n, 0.0), uncertain=1 - n / 1000) for n in range(30)]
    others = [candidate(100 + n, (10.0 * (n + 1), 5.0), uncertain=0.1) for n in range(3)]

    found = choose([*burst, *others], NOTHING, rules(20), always)

    assert sorted(ids(found)) == ["p0000", "p0100", "p0101", "p0102"]


def test_choose_when_something_alike_was_taken_before_then_passes_it_over() -> None:
    candidates = spread(5, "uncertain")

    found = choose(candidates, np.array([[0.0, 0.0], [3.0, 0.0]]), rules(10), always)

    assert sorted(ids(found)) == ["p0001", "p0002", "p0004"]


def test_choose_when_the_image_is_gone_then_passes_it_over() -> None:
    candidates = spread(5, "uncertain")

    found = choose(candidates, NOTHING, rules(2), lambda sha256: sha256 != candidates[0].image_sha256)

    assert "p0000" not in ids(found)
    assert len(found) == 2


def test_choose_takes_the_farthest_of_the_strongest() -> None:
    # Twelve strong ones: eleven in a row, one far away; and a weak one even farther, beyond the pool.
    strong = [candidate(n, (float(n), 0.0), uncertain=1 - n / 1000) for n in range(11)]
    far = candidate(11, (40.0, 0.0), uncertain=0.9)
    weak = candidate(12, (400.0, 0.0), uncertain=0.1)

    found = choose([*strong, far, weak], NOTHING, rules(3, 0, uncertain=1.0), always)

    assert ids(found) == ["p0000", "p0011", "p0010"]


@settings(deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(0, 60), budget=st.integers(0, 30), min_distance=st.floats(0, 0.5))
def test_choose_keeps_budget_and_distance_whatever_the_order(
    seed: int, count: int, budget: int, min_distance: float
) -> None:
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(count, 2)).round(1)  # some coincide
    reasons = ("uncertain", "drifted", "disputed")
    candidates = [
        candidate(n, tuple(point), **{reason: float(draw.random()) for reason in reasons if draw.random() < 0.6})
        for n, point in enumerate(points)
    ]
    shuffled: list[Any] = list(candidates)
    draw.shuffle(shuffled)

    found = choose(candidates, NOTHING, rules(budget, min_distance), always)

    assert found == choose(shuffled, NOTHING, rules(budget, min_distance), always)
    assert len(found) <= budget
    assert len(set(ids(found))) == len(found)
    if len(found) > 1:
        scaled = points / (feature_scale(points) * np.sqrt(2))
        chosen = scaled[[int(choice.prediction_id[1:]) for choice in found]]
        gaps = np.linalg.norm(chosen[:, None] - chosen[None], axis=2)[np.triu_indices(len(chosen), 1)]
        assert gaps.min() >= min_distance
