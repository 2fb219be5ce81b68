"""A judgement finds what changed, keeps quiet otherwise, and says when it cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from onsight.drift import DRIFT_TESTS, DriftPolicy, DriftSample, judge_sample
from onsight.drift.statistics import ks_statistics

POLICY = DriftPolicy()
FACTORS = np.random.default_rng(0).normal(size=(6, 24))
Array = NDArray[np.float64]


def sample(random: np.random.Generator, n: int, shift: float = 0.0, classes: Array | None = None) -> DriftSample:
    """Predictions with correlated features, three classes and image properties."""
    features = random.normal(size=(n, 6)) @ FACTORS + random.normal(size=(n, 24)) + shift
    sharp = random.dirichlet([0.4, 0.4, 0.4] if classes is None else classes, n)
    return DriftSample(
        uae_feats=features,
        bbsd_feats=sharp,
        probabilities=sharp,
        properties={"brightness": random.normal(size=n), "width": np.full(n, 300.0)},
        formats=tuple(random.choice(["JPEG", "PNG"], n, p=[0.8, 0.2]).tolist()),
        clients=(),
        created_at_s=np.empty(0),
    )


def outcomes(window: DriftSample, reference: DriftSample, policy: DriftPolicy = POLICY) -> dict[str, str]:
    judgement = judge_sample(reference, window, policy)
    return {verdict.features: verdict.outcome for verdict in (*judgement.tests, judgement.combined)}


def test_judge_sample_when_nothing_changed_then_no_test_alarms() -> None:
    random = np.random.default_rng(1)
    found = outcomes(sample(random, 150), sample(random, 400))
    assert found == dict.fromkeys((*DRIFT_TESTS, "combined"), "no drift")


def test_judge_sample_when_the_pictures_shift_then_uae_alone_is_named() -> None:
    random = np.random.default_rng(2)
    found = outcomes(sample(random, 150, shift=0.6), sample(random, 400))
    assert [name for name, outcome in found.items() if outcome == "drift"] == ["uae", "combined"]


def test_judge_sample_when_classes_shift_then_class_mix_and_bbsd_are_named() -> None:
    random = np.random.default_rng(3)
    found = outcomes(sample(random, 200, classes=np.array([1.2, 0.3, 0.3])), sample(random, 400))
    assert (found["class_mix"], found["bbsd"], found["uae"]) == ("drift", "drift", "no drift")


def test_judge_sample_when_the_model_becomes_unsure_then_confidence_is_named() -> None:
    random = np.random.default_rng(4)
    found = outcomes(sample(random, 200, classes=np.array([3.0, 3.0, 3.0])), sample(random, 400))
    assert (found["confidence"], found["class_mix"]) == ("drift", "no drift")


@pytest.mark.parametrize(
    "change",
    [
        {"formats": ("PNG",) * 150},
        {"properties": {"brightness": np.random.default_rng(5).normal(1.0, 1.0, 150)}},
        {"properties": {"width": np.full(150, 299.0)}},
    ],
    ids=["format", "brightness", "width"],
)
def test_judge_sample_when_files_change_then_properties_alone_are_named(change: dict[str, object]) -> None:
    random = np.random.default_rng(6)
    window = replace(sample(random, 150), **change)
    found = outcomes(window, sample(random, 400))
    assert [name for name, outcome in found.items() if outcome == "drift"] == ["properties", "combined"]


def test_judge_sample_when_nothing_drifts_then_keeps_its_false_alarm_rate() -> None:
    random = np.random.default_rng(7)
    policy = DriftPolicy(false_alarm_rate=0.05)
    windows = 200
    alarms = sum(
        bool(judge_sample(sample(random, 80), sample(random, 40), policy).combined.is_drift) for _ in range(windows)
    )
    assert alarms <= stats.binom.ppf(0.9999, windows, policy.false_alarm_rate)


def test_judge_sample_when_every_row_is_the_same_then_nothing_is_found() -> None:
    random = np.random.default_rng(21)
    same = sample(random, 1).take([0] * 800)
    judgement = judge_sample(same.take(np.arange(500)), same.take(np.arange(300)), POLICY)
    assert {verdict.p_value for verdict in judgement.tests} == {1.0}
    assert np.isfinite(judgement.row_scores).all()


def test_judge_sample_when_a_test_has_nothing_to_look_at_then_says_not_tested() -> None:
    random = np.random.default_rng(8)
    reference = replace(sample(random, 300), properties={}, formats=())
    found = outcomes(sample(random, 100), reference)
    assert found["properties"] == "not tested"
    assert found["combined"] == "no drift"


def test_judge_sample_when_rows_lack_a_property_then_leaves_it_out() -> None:
    random = np.random.default_rng(9)
    window = sample(random, 100)
    window.properties["brightness"][3] = np.nan
    effects = judge_sample(sample(random, 300), window, POLICY).effects
    assert [effect.name for effect in effects if effect.test == "properties"] == ["width", "format JPEG", "format PNG"]


@pytest.mark.parametrize("rows", [0, 1, 19])
def test_judge_sample_when_there_are_too_few_rows_then_gives_no_verdict(rows: int) -> None:
    random = np.random.default_rng(10)
    judgement = judge_sample(sample(random, 300), sample(random, rows, shift=9), POLICY)
    assert {verdict.outcome for verdict in (*judgement.tests, judgement.combined)} == {"not enough data"}
    assert judgement.combined.p_value is None
    assert (judgement.effects, len(judgement.row_scores), len(judgement.kept)) == ((), rows, rows)


def test_judge_sample_when_a_window_is_one_burst_then_is_too_few_rows() -> None:
    random = np.random.default_rng(11)
    burst = replace(sample(random, 1).take([0] * 200), clients=("camera",) * 200, created_at_s=np.arange(200) * 0.1)
    judgement = judge_sample(sample(random, 300), burst, POLICY)
    assert judgement.combined.outcome == "not enough data"
    assert (len(judgement.kept), judgement.combined.n_window) == (1, 1)


def test_judge_sample_when_many_pictures_are_alike_by_chance_then_thins_the_reference_as_well() -> None:
    # A quarter of the pictures look nearly the same, as an empty conveyor belt does.
    random = np.random.default_rng(15)
    both = sample(random, 800)
    both.uae_feats[random.random(800) < 0.25] *= 0.02
    window = replace(both.take(np.arange(400)), clients=("camera",) * 400, created_at_s=np.arange(400) * 0.5)
    judgement = judge_sample(both.take(np.arange(400, 800)), window, POLICY)
    assert len(judgement.kept) < 390
    assert judgement.combined.n_reference < 390
    reference = both.take(np.arange(400, 800))
    by_likeness = reference.take(np.argsort(np.abs(reference.uae_feats).sum(axis=1)))
    in_order = judge_sample(by_likeness, window, POLICY)
    assert abs(in_order.combined.n_reference - judgement.combined.n_reference) < 15
    nobody = judge_sample(reference, replace(window, clients=()), POLICY)
    assert (len(nobody.kept), nobody.combined.n_reference) == (400, 400)


def test_judge_sample_when_repeated_then_gives_the_same() -> None:
    random = np.random.default_rng(12)
    reference, window = sample(random, 300), sample(random, 100, shift=0.2)
    first, second = (judge_sample(reference, window, POLICY) for _ in range(2))
    assert (first.tests, first.combined, first.effects) == (second.tests, second.combined, second.effects)


def test_judgement_combined_is_drift_exactly_when_a_test_is() -> None:
    random = np.random.default_rng(13)
    reference = sample(random, 300)
    for shift in (0.0, 0.15, 0.25, 0.4):
        judgement = judge_sample(reference, sample(random, 100, shift=shift), POLICY)
        assert judgement.combined.is_drift == any(verdict.is_drift for verdict in judgement.tests)
        assert judgement.combined.p_value == min(verdict.p_value or 1.0 for verdict in judgement.tests)


def test_class_mix_when_alone_then_equals_the_exact_test() -> None:
    """With two classes the chi-square's order is Fisher's, so the p-values agree up to the drawn relabellings."""
    counts = np.array([[150, 50], [45, 35]])
    probabilities = [np.repeat([[0.9, 0.1], [0.1, 0.9]], row, axis=0) for row in counts]
    constant = [np.zeros((len(rows), 1)) for rows in probabilities]
    samples = [
        DriftSample(rows, rows, values, {}, (), (), np.empty(0))
        for rows, values in zip(constant, probabilities, strict=True)
    ]
    judgement = judge_sample(samples[0], samples[1], POLICY)
    p_value = next(verdict.p_value for verdict in judgement.tests if verdict.features == "class_mix")
    expected = stats.fisher_exact(counts).pvalue
    assert p_value is not None
    assert abs(p_value - expected) <= 4 * np.sqrt(expected / 1_000)


def test_effects_are_scipys_statistics_and_the_shift_in_standard_deviations() -> None:
    random = np.random.default_rng(14)
    reference, window = sample(random, 300), sample(random, 100, shift=0.5)
    effects = [effect for effect in judge_sample(reference, window, POLICY).effects if effect.test == "uae"]
    assert [effect.name for effect in effects[:2]] == ["uae_0", "uae_1"]
    assert len(effects) == 24
    for index, effect in enumerate(effects):
        first, second = reference.uae_feats[:, index], window.uae_feats[:, index]
        assert effect.statistic == pytest.approx(stats.ks_2samp(first, second).statistic)
        assert effect.shift == pytest.approx((second.mean() - first.mean()) / first.std())
        assert 0 < effect.p_value <= 1
    np.testing.assert_allclose(
        [effect.statistic for effect in effects], ks_statistics(reference.uae_feats, window.uae_feats)
    )


def test_effect_when_the_reference_is_constant_then_the_shift_is_infinite() -> None:
    random = np.random.default_rng(15)
    window = replace(sample(random, 100), properties={"width": np.full(100, 299.0)})
    effects = judge_sample(sample(random, 300), window, POLICY).effects
    width = next(effect for effect in effects if effect.name == "width")
    assert (width.statistic, width.shift) == (1.0, -np.inf)


def test_row_scores_rank_strange_rows_first() -> None:
    random = np.random.default_rng(16)
    window = sample(random, 100)
    window.uae_feats[[7, 70]] += random.normal(scale=8, size=(2, 24))
    scores = judge_sample(sample(random, 300), window, POLICY).row_scores
    assert set(np.argsort(scores)[-2:].tolist()) == {7, 70}
    assert np.median(scores) == pytest.approx(1, abs=0.1)


def test_judge_sample_when_the_window_is_huge_then_is_thinned_and_scores_every_row() -> None:
    random = np.random.default_rng(17)
    policy = DriftPolicy(max_rows=200)
    judgement = judge_sample(sample(random, 1_000), sample(random, 30_000), policy)
    assert (judgement.combined.n_reference, judgement.combined.n_window, len(judgement.kept)) == (200, 200, 200)
    assert np.all(np.diff(judgement.kept) > 0)
    assert judgement.row_scores.shape == (30_000,)
    assert judgement.combined.is_drift is False


def test_judge_sample_when_labels_are_many_then_counts_each_by_itself() -> None:
    random = np.random.default_rng(18)
    policy = DriftPolicy(classifier_type="multi-label")
    reference, window = (
        replace(sample(random, n), probabilities=random.random((n, 3)) ** power) for n, power in ((300, 1), (150, 4))
    )
    judgement = judge_sample(reference, window, policy)
    assert next(verdict.is_drift for verdict in judgement.tests if verdict.features == "class_mix") is True
    shares = [effect.statistic for effect in judgement.effects if effect.test == "class_mix"]
    expected = (reference.probabilities >= 0.5).mean(axis=0) - (window.probabilities >= 0.5).mean(axis=0)
    np.testing.assert_allclose(shares, np.abs(expected))


def test_judge_sample_when_shapes_differ_or_a_value_is_no_number_then_says_so() -> None:
    random = np.random.default_rng(19)
    reference, window = sample(random, 100), sample(random, 50)
    with pytest.raises(ValueError, match=r"uae_feats are \[W, 24\] like the reference's, not \[50, 3\]"):
        judge_sample(reference, replace(window, uae_feats=np.zeros((50, 3))), POLICY)
    with pytest.raises(ValueError, match="bbsd_feats hold values that are not finite"):
        judge_sample(reference, replace(window, bbsd_feats=np.full((50, 3), np.nan)), POLICY)


def test_sample_when_rows_are_taken_then_everything_follows() -> None:
    whole = replace(sample(np.random.default_rng(20), 5), clients=tuple("abcde"), created_at_s=np.arange(5.0))
    taken = whole.take([4, 0])
    assert len(taken) == 2
    assert taken.clients == ("e", "a")
    assert taken.formats == (whole.formats[4], whole.formats[0])
    np.testing.assert_array_equal(taken.created_at_s, [4, 0])
    np.testing.assert_array_equal(taken.uae_feats, whole.uae_feats[[4, 0]])
    np.testing.assert_array_equal(taken.properties["brightness"], whole.properties["brightness"][[4, 0]])
