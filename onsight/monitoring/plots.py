"""The drift report's plots: reference against window, as PNG data addresses that the page holds in itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onsight.drift import DriftSample, FeatureEffect
from onsight.monitoring.features import feature_title

__all__ = ["plot_answers", "plot_features", "plot_properties"]

_REFERENCE, _WINDOW = "#9fb3c8", "#b3541e"
_BINS = 24
_COLUMNS = 3
_MOST_FEATURES = 6
_MOST_CLASSES = 12
_LONGEST_NAME = 28
_POSITIVE = 0.5
_DPI = 110

Array = NDArray[np.float64]


def plot_features(
    reference: DriftSample, window: DriftSample, effects: Sequence[FeatureEffect], classes: Sequence[str]
) -> str:
    """Histograms of the image features and class probabilities that moved most; empty if none was tested."""
    numbered = [effect for effect in effects if effect.test in ("uae", "bbsd")]
    largest = sorted(numbered, key=lambda effect: -effect.statistic)[:_MOST_FEATURES]
    if not largest:
        return ""
    panels = [
        (feature_title(effect.name, classes), _column(reference, effect.name), _column(window, effect.name))
        for effect in largest
    ]
    return _histograms(panels)


def plot_properties(reference: DriftSample, window: DriftSample) -> str:
    """Histograms of image properties; empty if none is known."""
    panels = [
        (name, _finite(values), _finite(window.properties[name]))
        for name, values in reference.properties.items()
        if np.isfinite(values).any() and np.isfinite(window.properties.get(name, np.empty(0))).any()
    ]
    return _histograms(panels) if panels else ""


def plot_answers(
    reference: DriftSample, window: DriftSample, classes: Sequence[str], *, multi_label: bool = False
) -> str:
    """Shares of predicted classes, those that changed most, and the confidence of the answers."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shares = [_class_shares(sample.probabilities, multi_label=multi_label) for sample in (reference, window)]
    shown = np.sort(np.argsort(-np.abs(shares[1] - shares[0]), kind="stable")[:_MOST_CLASSES])
    places = np.arange(len(shown))
    for offset, share, colour, name in zip(
        (-0.2, 0.2), shares, (_REFERENCE, _WINDOW), ("reference", "window"), strict=True
    ):
        left.bar(places + offset, share[shown], width=0.38, color=colour, label=name)
    left.set_xticks(places, [_short(classes[i]) for i in shown], rotation=20 if len(shown) > _COLUMNS else 0)
    left.set(title="Predicted classes", ylabel="share of the images")
    _overlay(right, reference.probabilities.max(axis=1), window.probabilities.max(axis=1))
    right.set(title="Confidence", xlabel="largest probability")
    _finish(figure, (left, right))
    return _as_address(figure)


def _histograms(panels: Sequence[tuple[str, Array, Array]]) -> str:
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(10, 2.5 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, (title, reference, window) in zip(grid, panels, strict=False):
        _overlay(axes, reference, window)
        axes.set_title(_short(title), fontsize=10)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    _finish(figure, list(grid[: len(panels)]))
    return _as_address(figure)


def _overlay(axes: Axes, reference: Array, window: Array) -> None:
    """Both distributions, each as shares of its own rows, so that sizes do not matter."""
    both = np.concatenate([reference, window])
    edges = np.histogram_bin_edges(both, bins=_BINS)
    for values, colour, name in ((reference, _REFERENCE, "reference"), (window, _WINDOW, "window")):
        shares = np.histogram(values, edges)[0] / max(1, len(values))
        axes.stairs(shares, edges, color=colour, fill=name == "reference", linewidth=1.6, label=name)
    axes.set_ylabel("share", fontsize=8)


def _finish(figure: Figure, all_axes: Sequence[Axes]) -> None:
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    handles, names = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=2, frameon=False, fontsize=9)


def _column(sample: DriftSample, name: str) -> Array:
    kind, _, index = name.rpartition("_")
    features = sample.uae_feats if kind == "uae" else sample.bbsd_feats
    return np.asarray(features[:, int(index)])


def _class_shares(probabilities: Array, *, multi_label: bool) -> Array:
    if multi_label:
        shares: Array = (probabilities >= _POSITIVE).mean(axis=0)
        return shares
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return np.asarray(counts / max(1, len(probabilities)))


def _finite(values: Array) -> Array:
    return np.asarray(values[np.isfinite(values)])


def _short(name: str) -> str:
    # A dollar sign would start a formula.
    return (name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…").replace("$", r"\$")


def _as_address(figure: Figure) -> str:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
