"""The report's plots, as PNG files; drawn without pyplot, so that no state is shared between threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from onsight.domain import ScoredSplit
from onsight.evaluation.calibration import Reliability
from onsight.evaluation.measure import Evaluation

__all__ = ["plot_confusion", "plot_curves", "plot_reliability"]

_INK = "#1f2933"
_ACCENT = "#1f6f8b"
_MOST_NUMBERED = 20  # classes whose cells hold numbers
_MOST_NAMED = 60  # classes whose names are readable beside the matrix
_MOST_CURVES = 8
_MOST_UPRIGHT = 4  # columns whose names need no turning
_LONGEST_NAME = 24
_HEAD = 14
_SMALLEST_IN, _LARGEST_IN = 4.8, 16.0
_MULTI_LABEL_COLUMNS = [
    "absent,\nsaid\nabsent",
    "absent,\nsaid\npresent",
    "present,\nsaid\nabsent",
    "present,\nsaid\npresent",
]
_DPI = 120
_DARK = 0.55


def plot_confusion(evaluation: Evaluation, scored: ScoredSplit, path: Path) -> None:
    """True against predicted class, coloured by the share of the true class; multi-label: the four counts by class."""
    is_multi_label = scored.classifier_type == "multi-label"
    names = [_short(name) for name in scored.classes]
    columns = _MULTI_LABEL_COLUMNS if is_multi_label else names
    counts = evaluation.confusion.reshape(len(names), len(columns))
    actual = (
        evaluation.confusion.sum(axis=-1).repeat(2, axis=1) if is_multi_label else counts.sum(axis=1, keepdims=True)
    )
    share = counts / np.maximum(actual, 1)
    width, height = (_inches(len(part)) for part in (columns, names))
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto" if is_multi_label else "equal")
    axes.set(ylabel="class" if is_multi_label else "true class", xlabel="" if is_multi_label else "predicted class")
    if len(names) <= _MOST_NAMED:
        is_short = len(columns) <= _MOST_UPRIGHT
        turn, side = (0, "center") if is_short else (60, "right")
        axes.set_xticks(range(len(columns)), columns, rotation=turn, ha=side, rotation_mode="anchor" if turn else None)
        axes.set_yticks(range(len(names)), names)
    if len(names) <= _MOST_NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > _DARK else _INK
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    _write(figure, path)


def plot_reliability(reliability: Reliability, path: Path) -> None:
    """Accuracy by confidence, with the number of answers below."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = reliability.edges[1]
    middles = reliability.edges[:-1] + width / 2
    upper.plot([0, 1], [0, 1], color="#9aa5b1", linestyle="--", linewidth=1, label="perfectly calibrated")
    known = reliability.counts > 0
    upper.bar(middles[known], reliability.accuracy[known], width=0.92 * width, color=_ACCENT, label="right answers")
    upper.plot(
        reliability.confidence[known], reliability.accuracy[known], "o", color="#d64545", markersize=4,
        label="mean confidence of the bin",
    )  # fmt: skip
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of right answers")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=7, columnspacing=1.2, handletextpad=0.5)
    lower.bar(middles, reliability.counts, width=0.92 * width, color="#9fb3c8")
    lower.set(xlabel="confidence", ylabel="answers")
    _tidy(upper, lower)
    _write(figure, path)


def plot_curves(evaluation: Evaluation, scored: ScoredSplit, path: Path) -> None:
    """ROC and precision-recall curves, each class against the rest; of many classes, those with the least area."""
    drawn = [i for i, metrics in enumerate(evaluation.per_class) if not np.isnan(metrics.roc_auc)]
    drawn = sorted(sorted(drawn, key=lambda i: evaluation.per_class[i].roc_auc)[:_MOST_CURVES])
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i in drawn:
        metrics, truth, score = evaluation.per_class[i], scored.labels[:, i], scored.probabilities[:, i]
        false_rate, true_rate, _ = roc_curve(truth, score)
        precision, recall, _ = precision_recall_curve(truth, score)
        left.plot(false_rate, true_rate, linewidth=1.5, label=f"{_short(metrics.name)} {metrics.roc_auc:.3f}")
        right.step(recall, precision, where="post", linewidth=1.5, label=f"{_short(metrics.name)} {metrics.pr_auc:.3f}")
    left.plot([0, 1], [0, 1], color="#9aa5b1", linestyle="--", linewidth=1)
    left.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC (area)")
    right.set(xlabel="recall", ylabel="precision", title="Precision-recall (average precision)", ylim=(0, 1.02))
    for axes, corner in ((left, "lower right"), (right, "lower left")):
        if drawn:
            axes.legend(loc=corner, fontsize=8, framealpha=0.85, edgecolor="none")
    _tidy(left, right)
    _write(figure, path)


def _inches(classes: int) -> float:
    return min(_LARGEST_IN, max(_SMALLEST_IN, 0.4 * classes + 2))


def _tidy(*all_axes: Axes) -> None:
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)


def _short(name: str) -> str:
    # A dollar sign would start a formula, and a leading underscore hides a curve from its legend.
    name = name.lstrip("_") or name
    if len(name) > _LONGEST_NAME:  # long names often differ at the end alone
        name = f"{name[:_HEAD]}…{name[_HEAD + 1 - _LONGEST_NAME :]}"
    return name.replace("$", r"\$")


def _write(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI)
