"""Every number against scikit-learn, or against a computation by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

from onsight.config import EvaluateConfig
from onsight.domain import ScoredSplit
from onsight.errors import DatasetError, TrainingError
from onsight.evaluation import evaluate
from onsight.evaluation.ranking import ranking_areas

MakeSplit = Callable[..., ScoredSplit]
QUICK = EvaluateConfig(bootstrap_samples=200)
METRICS = ["accuracy", "balanced_accuracy", "top_k_accuracy", "macro_f1", "roc_auc", "pr_auc", "log_loss", "ece"]


def split_of(labels: list[list[float]], probabilities: list[list[float]], *, multi_label: bool = False) -> ScoredSplit:
    return ScoredSplit(
        "test",
        tuple(Path(f"{i}.png") for i in range(len(labels))),
        np.array(labels, dtype=np.float32),
        np.array(probabilities, dtype=np.float32),
        tuple("abcdef"[: len(labels[0])]),
        "multi-label" if multi_label else "multi-class",
    )


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_multi_class_metrics_agree_with_scikit_learn(make_split: MakeSplit, n_classes: int) -> None:
    scored = make_split(n=400, n_classes=n_classes)
    truth, probabilities = scored.labels.argmax(axis=1), scored.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)

    evaluation = evaluate(scored, QUICK)

    k = min(3, n_classes - 1)
    expected = {
        "accuracy": reference.accuracy_score(truth, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, predicted),
        "macro_f1": reference.f1_score(truth, predicted, average="macro"),
        "roc_auc": reference.roc_auc_score(scored.labels, probabilities, average="macro"),
        "pr_auc": reference.average_precision_score(scored.labels, probabilities, average="macro"),
        "log_loss": reference.log_loss(truth, probabilities),
        "top_k_accuracy": reference.accuracy_score(truth, predicted)
        if k == 1
        else reference.top_k_accuracy_score(truth, probabilities, k=k),
    }
    assert evaluation.top_k == k
    assert list(evaluation.metrics) == sorted(evaluation.metrics, key=list(evaluation.metrics).index)
    assert set(evaluation.metrics) == set(METRICS)
    for name, value in expected.items():
        assert evaluation.metrics[name].value == pytest.approx(value, abs=1e-9), name
    assert (evaluation.confusion == reference.confusion_matrix(truth, predicted)).all()
    precision, recall, f1, support = reference.precision_recall_fscore_support(truth, predicted)
    for i, row in enumerate(evaluation.per_class):
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision[i], recall[i], f1[i]))
        assert row.support == support[i]
        assert row.roc_auc == pytest.approx(reference.roc_auc_score(truth == i, probabilities[:, i]))
        assert row.pr_auc == pytest.approx(reference.average_precision_score(truth == i, probabilities[:, i]))


def test_multi_label_metrics_agree_with_scikit_learn(make_split: MakeSplit) -> None:
    scored = make_split(n=400, n_classes=6, multi_label=True)
    truth, probabilities = scored.labels.astype(int), scored.probabilities.astype(np.float64)
    predicted = (probabilities >= 0.5).astype(int)

    evaluation = evaluate(scored, QUICK)

    by_class = range(truth.shape[1])
    expected = {
        "accuracy": reference.accuracy_score(truth, predicted),
        "balanced_accuracy": np.mean(
            [reference.balanced_accuracy_score(truth[:, c], predicted[:, c]) for c in by_class]
        ),
        "macro_f1": reference.f1_score(truth, predicted, average="macro"),
        "roc_auc": reference.roc_auc_score(truth, probabilities, average="macro"),
        "pr_auc": reference.average_precision_score(truth, probabilities, average="macro"),
        "log_loss": np.mean([reference.log_loss(truth[:, c], probabilities[:, c]) for c in by_class]),
    }
    for name, value in expected.items():
        assert evaluation.metrics[name].value == pytest.approx(value, abs=1e-6), name
    assert (evaluation.confusion == reference.multilabel_confusion_matrix(truth, predicted)).all()


def test_multi_label_top_k_asks_for_any_of_an_images_labels() -> None:
    scored = split_of(
        [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]],
        [[0.9, 0.1, 0.2, 0.3], [0.9, 0.8, 0.7, 0.1], [0.5, 0.1, 0.1, 0.1], [0.2, 0.9, 0.8, 0.1]],
        multi_label=True,
    )
    # Found, not found, no label to find (left out), third of three.
    assert evaluate(scored, QUICK).metrics["top_k_accuracy"].value == pytest.approx(2 / 3)
    assert evaluate(scored, EvaluateConfig(top_k=2, bootstrap_samples=200)).metrics[
        "top_k_accuracy"
    ].value == pytest.approx(1 / 3)


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    # Bins of 1/15: 0.95 and 0.96 fall into (14/15, 1], 0.70 and 0.72 into (10/15, 11/15].
    confidences = [0.95, 0.96, 0.70, 0.72]
    right = [True, True, True, False]
    scored = split_of([[1, 0] if r else [0, 1] for r in right], [[c, 1 - c] for c in confidences])
    evaluation = evaluate(scored, QUICK)
    assert evaluation.metrics["ece"].value == pytest.approx((2 * abs(1.0 - 0.955) + 2 * abs(0.5 - 0.71)) / 4, abs=1e-6)
    assert evaluation.reliability.counts.tolist() == [0] * 10 + [2] + [0] * 3 + [2]
    assert evaluation.reliability.accuracy[[10, 14]] == pytest.approx([0.5, 1.0])
    assert evaluation.reliability.confidence[[10, 14]] == pytest.approx([0.71, 0.955])
    assert np.isnan(evaluation.reliability.accuracy[0])


def test_multi_label_calibration_counts_every_class_of_every_image() -> None:
    scored = split_of([[1, 0], [0, 0]], [[0.9, 0.2], [0.9, 0.2]], multi_label=True)
    evaluation = evaluate(scored, QUICK)
    # 0.9 twice, right once; "not there" at 0.8 twice, right twice.
    assert evaluation.metrics["ece"].value == pytest.approx((2 * abs(0.5 - 0.9) + 2 * abs(1 - 0.8)) / 4, abs=1e-6)
    assert evaluation.reliability.counts.sum() == 4


def test_a_class_without_images_leaves_the_means_alone() -> None:
    scored = split_of(
        [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]],
        [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1]],
    )
    evaluation = evaluate(scored, QUICK)
    assert evaluation.metrics["balanced_accuracy"].value == pytest.approx(0.75)
    assert evaluation.metrics["macro_f1"].value == pytest.approx((0.8 + 2 / 3) / 2)
    assert not math.isnan(evaluation.metrics["roc_auc"].value)
    absent = evaluation.per_class[2]
    assert absent.support == 0
    assert math.isnan(absent.recall)
    assert math.isnan(absent.roc_auc)


def test_one_class_alone_has_no_areas() -> None:
    evaluation = evaluate(split_of([[1, 0], [1, 0]], [[0.8, 0.2], [0.4, 0.6]]), QUICK)
    assert math.isnan(evaluation.metrics["roc_auc"].value)
    assert math.isnan(evaluation.metrics["roc_auc"].low)
    assert "roc_auc" not in evaluation.values()
    assert evaluation.values()["accuracy"] == 0.5


def test_a_class_that_is_never_predicted_has_precision_zero() -> None:
    evaluation = evaluate(split_of([[1, 0], [0, 1]], [[0.8, 0.2], [0.8, 0.2]]), QUICK)
    assert (evaluation.per_class[1].precision, evaluation.per_class[1].f1) == (0.0, 0.0)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    evaluation = evaluate(split_of([[1, 0], [0, 1]], [[0.0, 1.0], [0.0, 1.0]]), QUICK)
    assert evaluation.metrics["log_loss"].value == pytest.approx(-math.log(np.finfo(np.float32).eps) / 2, rel=1e-6)


def test_activations_that_do_not_sum_to_one_are_normalised() -> None:
    evaluation = evaluate(split_of([[1, 0], [0, 1]], [[0.8, 0.8], [0.2, 0.6]]), QUICK)
    assert evaluation.metrics["log_loss"].value == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, abs=1e-6)


@pytest.mark.parametrize("n", [1, 7, 200])
def test_weighted_areas_agree_with_scikit_learn_ties_included(n: int) -> None:
    generator = np.random.default_rng(n)
    weights = generator.integers(0, 4, size=(5, n)).astype(float)
    positive, score = generator.random(n) < 0.4, np.round(generator.random(n), 1)
    areas = ranking_areas(positive, score, weights.T)
    for area, area_of in zip(areas, (reference.roc_auc_score, reference.average_precision_score), strict=True):
        for row, value in zip(weights, area, strict=True):
            drawn = np.repeat(np.arange(n), row.astype(int))
            if len(set(positive[drawn])) == 2:
                assert value == pytest.approx(area_of(positive[drawn], score[drawn]))


def test_intervals_agree_with_a_plain_bootstrap(make_split: MakeSplit) -> None:
    scored = make_split(n=250)
    truth, predicted = scored.labels.argmax(axis=1), scored.probabilities.argmax(axis=1)
    evaluation = evaluate(scored, EvaluateConfig(bootstrap_samples=4000))
    generator = np.random.default_rng(5)
    resampled = []
    for _ in range(600):
        rows = generator.integers(0, 250, 250)
        resampled.append(
            (
                reference.accuracy_score(truth[rows], predicted[rows]),
                reference.f1_score(truth[rows], predicted[rows], average="macro"),
                reference.roc_auc_score(scored.labels[rows], scored.probabilities[rows], average="macro"),
            )
        )
    for name, values in zip(("accuracy", "macro_f1", "roc_auc"), np.array(resampled).T, strict=True):
        low, high = np.percentile(values, [2.5, 97.5])
        assert (evaluation.metrics[name].low, evaluation.metrics[name].high) == pytest.approx((low, high), abs=0.015)


def test_the_same_seed_gives_the_same_intervals(make_split: MakeSplit) -> None:
    scored = make_split()
    assert evaluate(scored, QUICK).metrics == evaluate(scored, QUICK).metrics
    other = evaluate(scored, EvaluateConfig(bootstrap_samples=200, seed=4)).metrics
    assert other["accuracy"] != evaluate(scored, QUICK).metrics["accuracy"]


def test_intervals_cover_the_truth_about_as_often_as_they_say(make_split: MakeSplit) -> None:
    truth = evaluate(make_split(n=20_000, seed=99), QUICK).metrics["accuracy"].value
    intervals = [evaluate(make_split(n=200, seed=s), QUICK).metrics["accuracy"] for s in range(60)]
    assert sum(interval.low <= truth <= interval.high for interval in intervals) >= 52


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": np.array([[1, 1], [0, 1]], np.float32)}, DatasetError, "have no label or several"),
        ({"labels": np.array([[0.5, 0.5], [0, 1]], np.float32)}, DatasetError, "other than 0 and 1"),
        ({"probabilities": np.array([[np.nan, 1], [0, 1]], np.float32)}, TrainingError, "1 of 2 images"),
        ({"probabilities": np.array([[3.0, -1], [0, 1]], np.float32)}, TrainingError, "no probabilities"),
        ({"probabilities": np.zeros((2, 3), np.float32)}, ValueError, "must both be"),
    ],
    ids=["two-labels", "soft-labels", "nan", "logits", "shape"],
)
def test_answers_that_make_no_sense_are_refused(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    scored = split_of([[1, 0], [0, 1]], [[0.8, 0.2], [0.3, 0.7]])
    with pytest.raises(error, match=message):
        evaluate(replace(scored, **change), QUICK)  # type: ignore[arg-type]


def test_an_empty_split_is_refused() -> None:
    empty = ScoredSplit("test", (), np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), ("a", "b"))
    with pytest.raises(DatasetError, match="holds no image"):
        evaluate(empty, QUICK)
