"""From the statistics of several tests to one p-value each, adjusted for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onsight.domain import DriftTest
from onsight.drift.evidence import Evidence, Observations, gather
from onsight.drift.permutation import adjusted_p_values, draw_labels, observed_labels, surprise

__all__ = ["Outcome", "weigh"]

Array = NDArray[np.float64]
Groups = Mapping[DriftTest, tuple[Observations, ...]]

# A few relabellings settle most quiet windows: only a p-value at most this many times the promised rate is worked out
# with all of them. An alarm still needs the full set, so the promise holds.
_REFINED = 10
_FIRST_PERMUTATIONS = 99


@dataclass(frozen=True)
class Outcome:
    """What one test found.

    Attributes:
        p_value: Adjusted for all tests.
        surprise: Minus the logarithm of the test's own approximate p-value.
        feature_p_values: For each group of features float64 [K], adjusted for all features of the test.
    """

    p_value: float
    surprise: float
    feature_p_values: tuple[Array, ...]


def weigh(groups: Groups, sizes: tuple[int, int], false_alarm_rate: float, seed: int) -> dict[DriftTest, Outcome]:
    """Test all groups with the same relabellings.

    Args:
        groups: What each test looks at; a test without a group is left out.
        sizes: Rows of reference and window.
        false_alarm_rate: Of all tests together; p-values can be a tenth of it.
        seed: Of the relabellings.
    """
    random = np.random.default_rng(seed)
    permutations = round(10 / false_alarm_rate) - 1
    first = min(_FIRST_PERMUTATIONS, permutations)
    labels = np.concatenate([observed_labels(*sizes), draw_labels(*sizes, first, random)])
    outcomes = _outcomes(groups, labels, seed)
    if first == permutations or min(outcome.p_value for outcome in outcomes.values()) > _REFINED * false_alarm_rate:
        return outcomes
    return _outcomes(groups, np.concatenate([labels, draw_labels(*sizes, permutations - first, random)]), seed)


def _outcomes(groups: Groups, labels: NDArray[np.float32], seed: int) -> dict[DriftTest, Outcome]:
    evidence = {test: tuple(gather(part, labels, seed) for part in parts) for test, parts in groups.items() if parts}
    surprises = {test: _surprise(parts) for test, parts in evidence.items()}
    observed = np.array([values[0] for values in surprises.values()])
    p_values = adjusted_p_values(observed, np.max(list(surprises.values()), axis=0))
    return {
        test: Outcome(float(p_value), float(surprises[test][0]), _feature_p_values(parts))
        for (test, parts), p_value in zip(evidence.items(), p_values, strict=True)
    }


def _surprise(parts: tuple[Evidence, ...]) -> Array:
    """A test's most surprising statistic, again as a surprise: tests of many statistics have no advantage."""
    return surprise(np.max([surprise(statistic) for part in parts for statistic in part.statistics], axis=0))


def _feature_p_values(parts: tuple[Evidence, ...]) -> tuple[Array, ...]:
    """Westfall and Young's within a group, Bonferroni's over the groups, whose statistics are not comparable."""
    return tuple(
        np.minimum(1.0, len(parts) * adjusted_p_values(part.per_feature[0], part.per_feature.max(axis=1)))
        for part in parts
    )
