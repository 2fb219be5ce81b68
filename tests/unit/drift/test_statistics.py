"""The statistics equal SciPy's and a direct computation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from onsight.drift.statistics import bonferroni, ks_p_value, ks_statistics, mmd_permutation_test


@pytest.mark.parametrize(("n_reference", "n_window", "decimals"), [(500, 200, 12), (60, 45, 1), (300, 20, None)])
def test_ks_equals_scipy(n_reference: int, n_window: int, decimals: int | None) -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(n_reference + n_window, 7))
    if decimals is not None:
        values = values.round(decimals)
    reference, window = values[:n_reference], values[n_reference:] + 0.2
    statistics = ks_statistics(reference, window)
    for feature in range(7):
        expected = stats.ks_2samp(reference[:, feature], window[:, feature], method="asymp")
        assert statistics[feature] == pytest.approx(expected.statistic, abs=1e-12)
        p_value = ks_p_value(float(statistics[feature]), n_reference, n_window)
        assert p_value == pytest.approx(expected.pvalue, abs=1e-9)


def test_bonferroni_multiplies_and_stops_at_one() -> None:
    assert bonferroni(0.01, 3) == pytest.approx(0.03)
    assert bonferroni(0.8, 2) == 1.0


def test_mmd_equals_the_definition() -> None:
    random = np.random.default_rng(5)
    reference, window = random.normal(size=(12, 3)), random.normal(size=(9, 3)) + 1
    rows = np.concatenate([reference, window])
    squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    kernel = np.exp(-squares / np.median(squares[np.triu_indices(21, 1)]))
    first, second, mixed = kernel[:12, :12], kernel[12:, 12:], kernel[:12, 12:]
    expected = (first.sum() - 12) / (12 * 11) + (second.sum() - 9) / (9 * 8) - 2 * mixed.mean()
    value, p_value = mmd_permutation_test(reference, window, permutations=99, seed=1)
    assert value == pytest.approx(expected)
    assert 1 / 100 <= p_value <= 1


def test_mmd_when_all_rows_are_equal_then_finds_nothing() -> None:
    value, p_value = mmd_permutation_test(np.ones((30, 2)), np.ones((20, 2)), permutations=99, seed=1)
    assert value == pytest.approx(0)
    assert p_value == 1.0
