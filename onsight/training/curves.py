"""Learning curves as a picture: loss and accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["plot_learning_curves"]


def plot_learning_curves(
    history: Mapping[str, Sequence[float]], path: Path, best_epoch: int, first_fine_tuned: int = 0
) -> None:
    """Draw training and validation curves.

    Args:
        history: Each metric's value by epoch; ``val_`` marks the validation split's.
        path: Of the PNG.
        best_epoch: Marked, counted from 0.
        first_fine_tuned: Marked if above 0: the first epoch with an unfrozen backbone.
    """
    # Not pyplot: it keeps figures in a global list, and asks for a screen on some machines.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in history if not name.startswith("val_")]
    figure = Figure(figsize=(5 * len(names), 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for position, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), position, xlabel="epoch", title=name)
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], label="train", marker=".")
        axes.plot(epochs, history[f"val_{name}"], label="valid", marker=".")
        axes.axvline(best_epoch + 1, color="grey", linestyle="--", label="best epoch")
        if 0 < first_fine_tuned < len(history[name]):
            axes.axvline(first_fine_tuned + 0.5, color="grey", linestyle=":", label="backbone unfrozen")
        axes.legend()
    figure.savefig(path, dpi=120)
