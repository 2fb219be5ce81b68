"""The verdict over a window of predictions: five tests and one promise about false alarms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onsight.domain import DriftTest, DriftVerdict
from onsight.drift.bursts import thin_bursts
from onsight.drift.detector import MIN_WINDOW_ROWS
from onsight.drift.effects import FeatureEffect, feature_effects, row_distances
from onsight.drift.evidence import Observations, observations
from onsight.drift.sample import DriftSample
from onsight.drift.weighing import Outcome, weigh

__all__ = ["DRIFT_TESTS", "DriftPolicy", "Judgement", "judge_sample"]

Array = NDArray[np.float64]

DRIFT_TESTS: tuple[DriftTest, ...] = ("uae", "bbsd", "class_mix", "confidence", "properties")
_DETECTOR = "permutation"
# Bursts are searched for in this many times as many rows as are tested, so that time is bounded.
_SEARCHED = 10


@dataclass(frozen=True)
class DriftPolicy:
    """What a judgement promises, and what it leaves out.

    Attributes:
        false_alarm_rate: The most that the combined verdict raises an alarm when reference and window are drawn from
            the same images.
        min_rows: Fewer rows than this, after bursts are thinned, give no verdict.
        max_rows: More rows than this, in the window or the reference, are thinned at random.
        burst_s: Near-duplicates that a client sent within so many seconds count as one image.
        classifier_type: How probabilities become predicted classes: the largest, or all of at least 0.5.
        seed: Of relabellings and thinning: the same input gives the same judgement.
    """

    false_alarm_rate: float = 0.01
    min_rows: int = MIN_WINDOW_ROWS
    max_rows: int = 5_000
    burst_s: float = 60.0
    classifier_type: Literal["multi-class", "multi-label"] = "multi-class"
    seed: int = 17


@dataclass(frozen=True)
class Judgement:
    """A window's verdicts and what they rest on.

    Attributes:
        tests: One verdict for each of ``DRIFT_TESTS``; p-values are adjusted for all of them.
        combined: The overall verdict, which keeps the promised false-alarm rate. It is drift exactly when a test's is.
        kept: intp [K] ascending, the window's rows that were tested.
        effects: Of each tested feature; none without a verdict.
        row_scores: float64 [W], how far each row lies from the reference: 1 is typical.
    """

    tests: tuple[DriftVerdict, ...]
    combined: DriftVerdict
    kept: NDArray[np.intp]
    effects: tuple[FeatureEffect, ...]
    row_scores: Array


def judge_sample(reference: DriftSample, window: DriftSample, policy: DriftPolicy) -> Judgement:
    """Test a window against the reference.

    The promise: over draws of reference and window from the same images, the combined verdict alarms with at most
    ``policy.false_alarm_rate``. For one reference the rate among its windows may lie above or below.

    Raises:
        ValueError: If feature counts differ between window and reference, or a feature is not finite.
    """
    if len(window):
        _check(reference, window)
    random = np.random.default_rng(policy.seed)
    reference = reference.take(_capped(np.arange(len(reference), dtype=np.intp), policy.max_rows, random))
    scores = row_distances(reference.uae_feats, window.uae_feats) if len(window) and len(reference) else np.empty(0)
    searched = _capped(np.arange(len(window), dtype=np.intp), _SEARCHED * policy.max_rows, random)
    sent = window.take(searched)
    kept = _capped(searched[_without_frames(sent, reference, policy)], policy.max_rows, random)
    reference = _thinned_alike(reference, sent, policy)
    sizes = len(reference), len(kept)
    if min(sizes) < policy.min_rows:
        tests = tuple(_verdict(name, policy, sizes) for name in DRIFT_TESTS)
        return Judgement(tests, _verdict("combined", policy, sizes), kept, (), scores)
    groups = observations(reference, window.take(kept), multi_label=policy.classifier_type == "multi-label")
    outcomes = weigh(groups, sizes, policy.false_alarm_rate, policy.seed)
    tests = tuple(_verdict(name, policy, sizes, outcomes.get(name), tested=name in outcomes) for name in DRIFT_TESTS)
    first = min(outcomes.values(), key=lambda outcome: (outcome.p_value, -outcome.surprise))
    return Judgement(tests, _verdict("combined", policy, sizes, first), kept, _effects(groups, outcomes), scores)


def _without_frames(sent: DriftSample, reference: DriftSample, policy: DriftPolicy) -> NDArray[np.intp]:
    """One row of each burst among those that clients sent."""
    if not len(reference):
        return np.arange(len(sent), dtype=np.intp)
    return thin_bursts(sent, reference.uae_feats, policy.burst_s, policy.seed)


def _thinned_alike(reference: DriftSample, window: DriftSample, policy: DriftPolicy) -> DriftSample:
    """The reference without the rows that would have been taken for frames, had the window's clients sent it.

    Images that happen to be alike are thinned too, and they are the common ones: were they missing in the window alone,
    quiet traffic would look drifted. In a mixed order: that of the reference may put what is alike side by side.
    """
    if not window.clients or not len(window.created_at_s) or not len(reference):
        return reference
    order = np.argsort(window.created_at_s, kind="stable")
    mixed = np.random.default_rng(policy.seed).permutation(len(reference))
    turns, places = np.divmod(mixed, len(order))
    rows = order[places]
    apart_s = float(np.ptp(window.created_at_s)) + policy.burst_s + 1.0
    sent = replace(
        reference,
        clients=tuple(window.clients[row] for row in rows),
        created_at_s=window.created_at_s[rows] + turns * apart_s,
    )
    return reference.take(_without_frames(sent, reference, policy))


def _verdict(
    test: DriftTest, policy: DriftPolicy, sizes: tuple[int, int], outcome: Outcome | None = None, *, tested: bool = True
) -> DriftVerdict:
    return DriftVerdict(
        features=test,
        detector=_DETECTOR,
        is_drift=None if outcome is None else outcome.p_value <= policy.false_alarm_rate,
        p_value=None if outcome is None else outcome.p_value,
        threshold=policy.false_alarm_rate,
        statistic=None if outcome is None else outcome.surprise,
        n_reference=sizes[0],
        n_window=sizes[1],
        tested=tested,
    )


def _effects(
    groups: dict[DriftTest, tuple[Observations, ...]], outcomes: dict[DriftTest, Outcome]
) -> tuple[FeatureEffect, ...]:
    return tuple(
        effect
        for test, outcome in outcomes.items()
        for group, p_values in zip(groups[test], outcome.feature_p_values, strict=True)
        for effect in feature_effects(test, group, p_values)
    )


def _check(reference: DriftSample, window: DriftSample) -> None:
    for name in ("uae_feats", "bbsd_feats", "probabilities"):
        expected, given = getattr(reference, name), getattr(window, name)
        if given.ndim != expected.ndim or expected.shape[1] != given.shape[1]:
            raise ValueError(f"{name} are [W, {expected.shape[1]}] like the reference's, not {list(given.shape)}")
        if not (np.isfinite(expected).all() and np.isfinite(given).all()):
            raise ValueError(f"{name} hold values that are not finite")


def _capped(rows: NDArray[np.intp], limit: int, random: np.random.Generator) -> NDArray[np.intp]:
    return rows if len(rows) <= limit else np.sort(random.choice(rows, limit, replace=False))
