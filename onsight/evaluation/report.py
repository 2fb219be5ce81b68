"""The evaluation report: one HTML page that needs no other file, with its plots as PNG files beside it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from onsight.domain import GateVerdict, Interval, ScoredSplit
from onsight.evaluation.measure import Evaluation
from onsight.evaluation.mistakes import draw_mistakes, worst_mistakes
from onsight.evaluation.plots import plot_confusion, plot_curves, plot_reliability

__all__ = ["ReportContext", "write_report"]

_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "top_k_accuracy": "Top-{k} accuracy",
    "macro_f1": "Macro F1",
    "roc_auc": "ROC-AUC (each class against the rest)",
    "pr_auc": "PR-AUC (average precision)",
    "log_loss": "Log loss",
    "ece": "Expected calibration error",
}
_MULTI_LABEL_METRICS = {
    "accuracy": "Accuracy (every label of the image right)",
    "top_k_accuracy": "Top-{k} (any label found)",
}
_LOWER_IS_BETTER = ("log_loss", "ece")


@dataclass(frozen=True)
class ReportContext:
    """What the page says beside the measurements.

    Attributes:
        title: For example the model's name and version.
        facts: Shown below the title: data set, tag, run.
        worst_n: Mistakes on the thumbnail sheet; 0 for none.
    """

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    worst_n: int = 24


def write_report(
    evaluation: Evaluation,
    scored: ScoredSplit,
    out_dir: Path,
    context: ReportContext,
    verdict: GateVerdict | None = None,
    champion: Mapping[str, Interval] | None = None,
) -> Path:
    """Write ``report.html`` and its plots.

    Args:
        evaluation: Of ``scored``.
        scored: What was measured; its images are read for the thumbnails.
        out_dir: Made if there is none. ``confusion_matrix.png``, ``reliability.png``, ``roc_pr.png`` and, if there
            are mistakes, ``worst_mistakes.png`` are written beside the page.
        context: Title and facts.
        verdict: The gate's, if there was one.
        champion: The champion's metrics on the same images, if there is one.

    Returns:
        The page.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    images = _draw(evaluation, scored, out_dir, context.worst_n)
    # Everything that comes from file names, classes and configs is escaped.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = _number
    page = environment.get_template("report.html.j2").render(
        context=context,
        scored=scored,
        evaluation=evaluation,
        verdict=verdict,
        rows=_rows(evaluation, champion, is_multi_label=scored.classifier_type == "multi-label"),
        has_champion=champion is not None,
        images=images,
    )
    path = out_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _draw(evaluation: Evaluation, scored: ScoredSplit, out_dir: Path, worst_n: int) -> dict[str, str]:
    """Draw every plot; its PNG as a data address, by the file's stem."""
    plot_confusion(evaluation, scored, out_dir / "confusion_matrix.png")
    plot_reliability(evaluation.reliability, out_dir / "reliability.png")
    plot_curves(evaluation, scored, out_dir / "roc_pr.png")
    names = ["confusion_matrix", "reliability", "roc_pr"]
    mistakes = worst_mistakes(scored, worst_n)
    if mistakes:
        draw_mistakes(mistakes, out_dir / "worst_mistakes.png")
        names.append("worst_mistakes")
    return {
        name: "data:image/png;base64," + base64.b64encode((out_dir / f"{name}.png").read_bytes()).decode()
        for name in names
    }


def _rows(
    evaluation: Evaluation, champion: Mapping[str, Interval] | None, *, is_multi_label: bool
) -> list[dict[str, Any]]:
    labels = _METRICS | (_MULTI_LABEL_METRICS if is_multi_label else {})
    if evaluation.top_k == 1 and not is_multi_label:
        labels.pop("top_k_accuracy")  # it is the accuracy
    return [_row(name, label, evaluation, champion) for name, label in labels.items()]


def _row(name: str, label: str, evaluation: Evaluation, champion: Mapping[str, Interval] | None) -> dict[str, Any]:
    ours = evaluation.metrics[name]
    theirs = champion.get(name) if champion else None
    gain = None if theirs is None else (ours.value - theirs.value) * (-1 if name in _LOWER_IS_BETTER else 1)
    return {
        "label": label.format(k=evaluation.top_k),
        "ours": ours,
        "theirs": theirs,
        "trend": "" if not gain or math.isnan(gain) else "better" if gain > 0 else "worse",
    }


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4f}"
