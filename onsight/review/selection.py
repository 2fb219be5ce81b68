"""Which predictions a person should look at: the strongest of each reason within a budget, no two of them alike.

Every reason gets its share of the budget. Its candidates are taken in the order of their scores, near duplicates and
images that are gone passed over, until there are a few times as many as it may choose. Of these its strongest is
chosen, then by farthest-first traversal (Gonzalez, *Clustering to minimize the maximum intercluster distance*, 1985;
the greedy k-center rule of core-set active learning, Sener and Savarese, ICLR 2018). Ties fall to the better score,
then to the older prediction, so that the same rows always give the same choice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Candidate", "Choice", "SelectionRules", "choose", "dispute_scores", "feature_scale", "uncertainty"]

Reason = Literal["disputed", "drifted", "uncertain"]
# Disputed ones first: people have worked on them already.
REASONS: tuple[Reason, ...] = ("disputed", "drifted", "uncertain")
_POOL_FACTOR = 4
_LEAST_SCALE = 1e-12

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SelectionRules:
    """How many, and how far apart.

    Attributes:
        budget: Items in all.
        shares: Of the budget, by reason; what a reason cannot use goes to the others, in the order of ``REASONS``.
        min_distance: Between features, in standard deviations of the candidates' (root mean square over the features);
            two images nearer than this are near duplicates.
    """

    budget: int
    shares: Mapping[Reason, float]
    min_distance: float


@dataclass(frozen=True)
class Candidate:
    """One prediction that may be chosen.

    Attributes:
        features: float64 [D], the untrained encoder's.
        scores: By reason; a reason that does not hold has none.
    """

    prediction_id: str
    image_sha256: str
    features: FloatArray
    scores: Mapping[Reason, float]


@dataclass(frozen=True)
class Choice:
    """A prediction that was chosen, and why."""

    prediction_id: str
    reason: Reason
    score: float


def uncertainty(probabilities: FloatArray, *, is_multi_label: bool) -> FloatArray:
    """How undecided each answer is, 0 (sure) to 1 (a toss-up), float64 [N].

    Multi-class: 1 less the margin between the two most probable classes (Scheffer et al., *Active hidden Markov models
    for information extraction*, 2001). Multi-label: how near its least decided class is to one half.

    Args:
        probabilities: float64 [N, C], C at least 2.
        is_multi_label: Classes do not exclude each other.
    """
    if is_multi_label:
        undecided: FloatArray = 1 - 2 * np.abs(probabilities - 0.5).min(axis=1)
        return undecided
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    toss_up: FloatArray = 1 - (first - second)
    return toss_up


def dispute_scores(opinions: Iterable[tuple[str, str, Sequence[str]]]) -> dict[str, float]:
    """How far people disagree about each prediction: 1 less the share of the commonest opinion.

    Args:
        opinions: Prediction, person and labels, oldest first: a person's last opinion counts.

    Returns:
        The score of each prediction that people do disagree about.
    """
    latest: dict[str, dict[str, frozenset[str]]] = {}
    for prediction_id, person, labels in opinions:
        latest.setdefault(prediction_id, {})[person] = frozenset(labels)
    scores = {}
    for prediction_id, by_person in latest.items():
        said = list(by_person.values())
        share = max(said.count(labels) for labels in said) / len(said)
        if share < 1:
            scores[prediction_id] = 1 - share
    return scores


def choose(
    candidates: Sequence[Candidate],
    taken: FloatArray,
    rules: SelectionRules,
    is_kept: Callable[[str], bool],
) -> list[Choice]:
    """Choose within the budget.

    Args:
        candidates: No image twice; any order.
        taken: float64 [T, D], features of the items that were chosen before: nothing near them is chosen again.
        rules: Of this run.
        is_kept: Whether the image of a digest can still be shown; asked of few.

    Returns:
        At most ``budget`` choices, by reason, each reason's in the order of choice.
    """
    if not candidates or rules.budget < 1:
        return []
    ordered = sorted(candidates, key=lambda candidate: candidate.prediction_id)
    features = np.stack([candidate.features for candidate in ordered])
    scale = feature_scale(features) * np.sqrt(features.shape[1])
    traversal = _Traversal(ordered, features / scale, taken / scale, rules.min_distance, is_kept)
    for reason, quota in _quotas(rules).items():
        traversal.add(reason, quota)
    for reason in REASONS:
        if rules.shares.get(reason, 0) > 0:
            traversal.add(reason, rules.budget - len(traversal.choices))
    return sorted(traversal.choices, key=lambda choice: REASONS.index(choice.reason))


def feature_scale(features: FloatArray) -> FloatArray:
    """The standard deviation of each feature, float64 [D].

    Not a robust one: where most of a window is one burst, quartiles tell the spread within the burst alone.
    """
    scale: FloatArray = np.maximum(features.std(axis=0), _LEAST_SCALE)
    return scale


def _quotas(rules: SelectionRules) -> dict[Reason, int]:
    """Whole numbers by largest remainder; their sum is the budget."""
    total = sum(rules.shares.get(reason, 0) for reason in REASONS)
    exact = {reason: rules.budget * rules.shares.get(reason, 0) / total for reason in REASONS}
    quotas = {reason: int(value) for reason, value in exact.items()}
    by_remainder = sorted(REASONS, key=lambda reason: quotas[reason] - exact[reason])
    for reason in by_remainder[: rules.budget - sum(quotas.values())]:
        quotas[reason] += 1
    return quotas


class _Traversal:
    """What was chosen so far, and how far every candidate is from the nearest of it."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        features: FloatArray,
        taken: FloatArray,
        min_distance: float,
        is_kept: Callable[[str], bool],
    ) -> None:
        self.choices: list[Choice] = []
        self._candidates = candidates
        self._features = features
        self._min_distance = min_distance
        self._is_kept = is_kept
        self._nearest = np.full(len(candidates), np.inf)
        for row in taken:
            self._keep_away_from(row)

    def add(self, reason: Reason, count: int) -> None:
        """Chooses up to ``count`` for a reason: its strongest candidate, then whatever is farthest from all before."""
        pool = self._pool(reason, count * _POOL_FACTOR)
        for place in range(min(count, len(pool))):
            # argmax takes the first of equals, which is the strongest.
            best = pool.pop(int(np.argmax(self._nearest[pool])) if place else 0)
            candidate = self._candidates[best]
            self.choices.append(Choice(candidate.prediction_id, reason, candidate.scores[reason]))
            self._keep_away_from(self._features[best])
            self._nearest[best] = -1  # never again, also where min_distance is 0

    def _pool(self, reason: Reason, size: int) -> list[int]:
        """The strongest candidates that are no near duplicates of each other or of what was chosen."""
        rows = [row for row, candidate in enumerate(self._candidates) if reason in candidate.scores]
        rows.sort(key=lambda row: -self._candidates[row].scores[reason])
        pool: list[int] = []
        for row in rows:
            if len(pool) >= size:
                break
            is_near = self._nearest[row] < self._min_distance or self._is_near_any(row, pool)
            if not is_near and self._is_kept(self._candidates[row].image_sha256):
                pool.append(row)
        return pool

    def _is_near_any(self, row: int, others: Collection[int]) -> bool:
        distances = np.linalg.norm(self._features[list(others)] - self._features[row], axis=1)
        return bool((distances < self._min_distance).any())

    def _keep_away_from(self, point: FloatArray) -> None:
        self._nearest = np.minimum(self._nearest, np.linalg.norm(self._features - point, axis=1))
