"""The permutation test's pieces against enumeration and SciPy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from onsight.drift.permutation import adjusted_p_values, draw_labels, observed_labels, surprise


def test_labels_when_drawn_then_each_has_as_many_window_rows_and_repeats_by_seed() -> None:
    labels = draw_labels(30, 12, 200, np.random.default_rng(1))
    assert labels.shape == (200, 42)
    assert set(np.unique(labels)) == {0.0, 1.0}
    np.testing.assert_array_equal(labels.sum(axis=1), 12)
    np.testing.assert_array_equal(labels, draw_labels(30, 12, 200, np.random.default_rng(1)))
    np.testing.assert_array_equal(observed_labels(2, 3), [[0, 0, 1, 1, 1]])


def test_labels_when_drawn_then_every_choice_is_equally_likely() -> None:
    labels = draw_labels(3, 2, 20_000, np.random.default_rng(2))
    counts = [int((labels[:, list(pair)].sum(axis=1) == 2).sum()) for pair in combinations(range(5), 2)]
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("freedom", [1, 5, 60])
def test_surprise_of_chi_squares_is_near_their_own_p_value(freedom: int) -> None:
    random = np.random.default_rng(3)
    values = random.chisquare(freedom, 5_000)
    found, expected = surprise(values), -stats.chi2.logsf(values, freedom)
    often = values < np.quantile(values, 0.99)
    np.testing.assert_allclose(found[often], expected[often], atol=0.25)
    np.testing.assert_array_equal(np.argsort(found), np.argsort(values))


def test_surprise_when_one_value_is_far_out_then_it_does_not_hide_itself() -> None:
    values = np.concatenate([[1e6], np.random.default_rng(4).chisquare(3, 999)])
    found = surprise(values)
    assert found[0] > 100
    assert found[1:].max() < found[0]


def test_surprise_when_all_values_are_equal_then_nothing_is_surprising() -> None:
    np.testing.assert_array_equal(surprise(np.full(50, 3.0)), 0.0)


def test_adjusted_p_values_count_labellings_at_least_as_large_and_ties_as_equal() -> None:
    largest = np.array([5.0, 1.0, 2.0, 3.0, 5.0, 4.0, 1.0, 2.0, 0.5, 5.0 - 1e-6])
    np.testing.assert_allclose(adjusted_p_values(np.array([5.0, 2.0]), largest), [0.3, 0.7])
    assert adjusted_p_values(np.array([9.0]), largest)[0] == pytest.approx(0.1)
