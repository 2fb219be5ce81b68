"""The gate's decisions, and by simulation how often it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import binomtest

from onsight.config import EvaluateConfig, GateConfig
from onsight.domain import GateVerdict, ScoredSplit
from onsight.errors import DatasetError
from onsight.evaluation import compare, evaluate

CLASSES = ("ok", "scratch")
BOTH_TESTS = pytest.mark.parametrize("test", ["paired_bootstrap", "mcnemar"])


def answers(is_right: np.ndarray, truth: np.ndarray | None = None) -> ScoredSplit:
    """A split whose answers are right where told."""
    n = len(is_right)
    truth = np.arange(n) % 2 if truth is None else truth
    said = np.where(is_right, truth, 1 - truth)
    labels, probabilities = np.eye(2, dtype=np.float32)[truth], np.full((n, 2), 0.2, np.float32)
    probabilities[np.arange(n), said] = 0.8
    return ScoredSplit("test", tuple(Path(f"{i}.png") for i in range(n)), labels, probabilities, CLASSES)


EVALUATION = evaluate(answers(np.arange(300) % 10 > 0), EvaluateConfig(bootstrap_samples=300))


def decide(challenger: ScoredSplit, champion: ScoredSplit | None, config: GateConfig, seed: int = 1) -> GateVerdict:
    evaluation = evaluate(challenger, EvaluateConfig(bootstrap_samples=500, seed=seed))
    return compare(challenger, champion, evaluation, config, "cells-v2", "cells-v1")


def right_for(wins: int, losses: int, both: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    challenger = np.repeat([True, False, True, False], [wins, losses, both, neither])
    champion = np.repeat([False, True, True, False], [wins, losses, both, neither])
    return challenger, champion


def test_the_first_model_has_the_minimums_alone_to_pass() -> None:
    challenger = answers(np.repeat([True, False], [90, 10]))
    verdict = decide(challenger, None, GateConfig(minimum={"accuracy": 0.85, "macro_f1": 0.8}))
    assert verdict.passed
    assert verdict.champion is None
    assert verdict.difference is None
    assert verdict.challenger_value.value == pytest.approx(0.9)
    assert any("there is no champion" in reason for reason in verdict.reasons)
    assert any("accuracy 0.9000 reaches the minimum of 0.8500" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("has_champion", [False, True])
def test_a_minimum_that_is_missed_fails_whatever_else_holds(*, has_champion: bool) -> None:
    challenger = answers(np.repeat([True, False], [90, 10]))
    champion = answers(np.repeat([True, False], [50, 50])) if has_champion else None
    verdict = decide(challenger, champion, GateConfig(minimum={"accuracy": 0.95}))
    assert not verdict.passed
    assert verdict.reasons == ("accuracy 0.9000 is below the minimum of 0.9500",)


def test_a_metric_that_cannot_be_computed_is_below_any_minimum() -> None:
    one_class = answers(np.ones(20, dtype=bool), truth=np.zeros(20, dtype=int))
    verdict = decide(one_class, None, GateConfig(minimum={"roc_auc": 0.1}))
    assert not verdict.passed
    assert "cannot be computed" in verdict.reasons[0]


@BOTH_TESTS
def test_a_challenger_that_answers_the_same_passes(test: str) -> None:
    same = answers(np.repeat([True, False], [180, 20]))
    verdict = decide(same, same, GateConfig(test=test))
    assert verdict.passed
    assert verdict.difference is not None
    assert verdict.difference.value == 0
    assert verdict.champion == "cells-v1"


@BOTH_TESTS
@pytest.mark.parametrize(("ours", "theirs"), [(83, 81), (58, 56), (29, 27)])
def test_a_gain_of_just_the_margin_is_enough(test: str, ours: int, theirs: int) -> None:
    # As floats, 0.83 - 0.81 is less than 0.02.
    challenger, champion = (answers(np.arange(100) < right) for right in (ours, theirs))
    assert decide(challenger, champion, GateConfig(test=test, margin=0.02)).passed


@BOTH_TESTS
def test_a_clearly_better_challenger_passes_with_its_numbers(test: str) -> None:
    ours, theirs = right_for(wins=40, losses=5, both=150, neither=5)
    verdict = decide(answers(ours), answers(theirs), GateConfig(test=test, margin=0.05))
    assert verdict.passed
    assert verdict.difference is not None
    assert verdict.difference.value == pytest.approx(35 / 200)
    assert verdict.difference.low > 0
    assert verdict.champion_value is not None
    assert verdict.champion_value.value == pytest.approx(155 / 200)
    assert any("gains 0.1750 against cells-v1" in reason for reason in verdict.reasons)


@BOTH_TESTS
def test_a_gain_below_the_margin_fails(test: str) -> None:
    ours, theirs = right_for(wins=12, losses=2, both=180, neither=6)
    verdict = decide(answers(ours), answers(theirs), GateConfig(test=test, margin=0.1))
    assert not verdict.passed
    assert verdict.reasons == ("accuracy gains 0.0500 against cells-v1; the gain must be at least 0.1000",)


@BOTH_TESTS
def test_a_gain_that_may_be_a_loss_fails(test: str) -> None:
    ours, theirs = right_for(wins=31, losses=30, both=30, neither=9)
    verdict = decide(answers(ours), answers(theirs), GateConfig(test=test))
    assert not verdict.passed
    (reason,) = verdict.reasons
    assert reason.startswith("a loss larger than 0.0200 is not ruled out: at 95% confidence accuracy loses at most 0.1")


def test_mcnemar_gives_the_exact_two_sided_p_value() -> None:
    ours, theirs = right_for(wins=9, losses=2, both=50, neither=3)
    verdict = decide(answers(ours), answers(theirs), GateConfig(test="mcnemar"))
    assert verdict.p_value == pytest.approx(binomtest(2, 11).pvalue)


def test_mcnemars_bounds_are_those_of_the_published_example() -> None:
    # Tango (1998) gives [0.061, 0.345] for 12 against 2 of 50.
    ours, theirs = right_for(wins=12, losses=2, both=30, neither=6)
    verdict = decide(answers(ours), answers(theirs), GateConfig(test="mcnemar"))
    assert verdict.difference is not None
    assert (verdict.difference.low, verdict.difference.high) == pytest.approx((0.0611, 0.3447), abs=5e-5)


def test_mcnemars_bounds_with_no_differing_answer_depend_on_the_number_of_images() -> None:
    same = answers(np.ones(200, dtype=bool))
    verdict = decide(same, same, GateConfig(test="mcnemar"))
    assert verdict.difference is not None
    bound = 1.959964**2 / (200 + 1.959964**2)
    assert (verdict.difference.low, verdict.difference.high) == pytest.approx((-bound, bound), abs=1e-6)


@pytest.mark.parametrize(("p_win", "p_loss"), [(0.05, 0.0), (0.0, 0.03), (0.06, 0.04)])
def test_mcnemars_intervals_cover_the_truth_as_often_as_they_say(p_win: float, p_loss: float) -> None:
    generator, covered = np.random.default_rng(5), 0
    evaluation = evaluate(answers(np.ones(300, dtype=bool)), EvaluateConfig(bootstrap_samples=200))
    for _ in range(200):
        wins, losses, both = generator.multinomial(300, [p_win, p_loss, 1 - p_win - p_loss])
        ours, theirs = (answers(is_right) for is_right in right_for(wins, losses, both, 0))
        difference = compare(ours, theirs, evaluation, GateConfig(test="mcnemar"), "cells-v2", "cells-v1").difference
        assert difference is not None
        covered += difference.low <= p_win - p_loss <= difference.high
    assert covered >= 180


def test_the_bootstrap_difference_agrees_with_its_standard_error() -> None:
    ours, theirs = right_for(wins=60, losses=40, both=250, neither=50)
    verdict = decide(answers(ours), answers(theirs), GateConfig())
    assert verdict.difference is not None
    gain = ours.astype(float) - theirs
    spread = 1.96 * gain.std() / np.sqrt(len(gain))
    assert verdict.difference.low == pytest.approx(gain.mean() - spread, abs=0.008)
    assert verdict.difference.high == pytest.approx(gain.mean() + spread, abs=0.008)


def test_balanced_accuracy_weighs_a_rare_class_as_a_common_one() -> None:
    truth = np.repeat([0, 1], [190, 10])
    champion = answers(np.repeat([True, False], [190, 10]), truth)
    challenger = answers(np.repeat([False, True], [10, 190]), truth)
    verdict = decide(challenger, champion, GateConfig(metric="balanced_accuracy"))
    assert verdict.passed
    assert verdict.difference is not None
    assert verdict.difference.value == pytest.approx((180 / 190 + 1) / 2 - 0.5)


def test_mcnemar_is_for_accuracy_alone() -> None:
    with pytest.raises(ValidationError, match="mcnemar"):
        GateConfig(metric="balanced_accuracy", test="mcnemar")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"paths": tuple(Path(f"{i}.jpg") for i in range(20))}, "images"),
        ({"classes": ("ok", "dent")}, "classes"),
        ({"labels": np.tile(np.array([[1, 0]], np.float32), (20, 1))}, "labels"),
        ({"classifier_type": "multi-label"}, "classifier types"),
    ],
    ids=["images", "classes", "labels", "type"],
)
def test_only_answers_to_the_same_images_are_compared(change: dict[str, object], what: str) -> None:
    split = answers(np.ones(20, dtype=bool))
    with pytest.raises(DatasetError, match=f"different {what}"):
        decide(split, replace(split, **change), GateConfig())  # type: ignore[arg-type]


def _promoted(test: str, challenger_accuracy: float, champion_accuracy: float) -> float:
    """The share of 200 simulated comparisons that pass; the two are right independently of each other."""

    def draw(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return generator.random(300) < challenger_accuracy, generator.random(300) < champion_accuracy

    return _share_passed(draw, GateConfig(test=test))


def _share_passed(
    draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]], config: GateConfig, repeats: int = 200
) -> float:
    passed = 0
    for seed in range(repeats):
        ours, theirs = (answers(is_right) for is_right in draw(np.random.default_rng(seed)))
        # One evaluation serves all: of it, the gate's decision takes the resamples and the seed alone.
        evaluation = replace(EVALUATION, seed=seed)
        passed += compare(ours, theirs, evaluation, config, "cells-v2", "cells-v1").passed
    return passed / repeats


@BOTH_TESTS
def test_a_challenger_worse_than_allowed_is_hardly_ever_promoted(test: str) -> None:
    # Two points worse is just what is allowed: at 95 % confidence at most about 5 % may slip through.
    assert _promoted(test, 0.88, 0.90) <= 0.08
    assert _promoted(test, 0.82, 0.90) == 0


@BOTH_TESTS
def test_a_better_challenger_is_nearly_always_promoted(test: str) -> None:
    assert _promoted(test, 0.96, 0.88) >= 0.95


@BOTH_TESTS
def test_a_challenger_that_answers_nearly_the_same_is_promoted(test: str) -> None:
    def draw(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        theirs = generator.random(1000) < 0.9
        return theirs ^ (generator.random(1000) < 0.005), theirs

    assert _share_passed(draw, GateConfig(test=test, margin=-0.02), repeats=50) == 1
