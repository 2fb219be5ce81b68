"""The columns of scores equal SciPy's rank tests and direct computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from onsight.drift.scores import fourier_scores, rank_scores, standardised, whitened


def test_rank_scores_of_degree_one_and_two_are_the_tests_of_wilcoxon_and_mood() -> None:
    random = np.random.default_rng(1)
    reference, window = random.normal(size=80), random.normal(0.2, 1.4, size=33)
    rows = len(reference) + len(window)
    sums = rank_scores(np.concatenate([reference, window])[:, None])[80:].sum(axis=0)
    # The variance of a sum of standardised scores over a draw without replacement.
    z = sums / np.sqrt(33 * 80 / (rows - 1))
    wilcoxon = stats.ranksums(window, reference).statistic * np.sqrt((rows + 1) * (rows - 1)) / rows
    assert z[0] == pytest.approx(wilcoxon, rel=0.01)
    assert z[1] == pytest.approx(stats.mood(window, reference).statistic, rel=0.01)


def test_rank_scores_are_uncorrelated_and_blind_to_scale() -> None:
    values = np.random.default_rng(2).gamma(2.0, size=(500, 3))
    scores = rank_scores(values).astype(np.float64)
    assert scores.shape == (500, 12)
    np.testing.assert_allclose(scores[:, :4].T @ scores[:, :4] / 500, np.eye(4), atol=0.02)
    np.testing.assert_array_equal(rank_scores(np.exp(values)), scores)


def test_scores_when_a_column_is_constant_then_are_zero() -> None:
    values = np.column_stack([np.full(40, 7.3), np.arange(40.0)])
    np.testing.assert_array_equal(rank_scores(values)[:, :4], 0)
    np.testing.assert_array_equal(standardised(values)[:, 0], 0)
    assert np.isfinite(whitened(values)).all()
    assert np.isfinite(fourier_scores(standardised(np.full((40, 3), 2.0)), 1)).all()


def test_whitened_rows_have_the_inverse_correlation_as_inner_product() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(300, 6)) @ random.normal(size=(6, 6))
    scaled = stats.zscore(values)
    shrunk = 0.9 * np.corrcoef(values.T) + 0.1 * np.eye(6)
    turned = whitened(values)
    np.testing.assert_allclose(turned @ turned.T, scaled @ np.linalg.inv(shrunk) @ scaled.T, atol=1e-8)


def test_fourier_scores_approximate_the_kernel_mmd() -> None:
    random = np.random.default_rng(4)
    reference, window = random.normal(size=(200, 5)), random.normal(0.8, 1, size=(100, 5))
    rows = np.concatenate([reference, window])
    squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    kernel = np.exp(-squares / np.median(squares[np.triu_indices(300, 1)]))
    expected = kernel[:200, :200].mean() + kernel[200:, 200:].mean() - 2 * kernel[:200, 200:].mean()
    found = []
    for seed in range(40):
        columns = fourier_scores(rows, seed)
        difference = columns[200:].mean(axis=0) - columns[:200].mean(axis=0)
        found.append(float(difference @ difference) * 2 / columns.shape[1])
    assert np.mean(found) == pytest.approx(expected, rel=0.1)
