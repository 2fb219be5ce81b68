"""The drift report: one HTML page that needs no other file and fetches nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import onsight
from onsight.domain import DriftVerdict
from onsight.drift import FeatureEffect, ReferenceData
from onsight.monitoring.confirmation import Confirmation
from onsight.monitoring.features import TEST_TITLES, feature_title
from onsight.monitoring.plots import plot_answers, plot_features, plot_properties
from onsight.monitoring.rows import MonitorRun
from onsight.monitoring.samples import reference_sample, window_sample
from onsight.monitoring.thumbnails import Gallery

__all__ = ["ReportParts", "render_report"]

_MOST_EFFECTS = 15


@dataclass(frozen=True)
class ReportParts:
    """What the page shows beside the run itself.

    Attributes:
        bundle_verdicts: Of the bundle's own detectors; they are no part of the verdict.
    """

    reference: ReferenceData
    confirmation: Confirmation
    galleries: tuple[Gallery, ...]
    bundle_verdicts: Sequence[DriftVerdict] = ()


def render_report(run: MonitorRun, parts: ReportParts) -> str:
    """The page as text."""
    # Everything that comes from file names, classes and clients is escaped.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = _number
    return environment.get_template("report.html.j2").render(
        run=run,
        parts=parts,
        facts=_facts(run),
        titles=TEST_TITLES,
        effects=_largest(run),
        title_of=lambda name: feature_title(name, run.metadata.classes),
        plots=_plots(run, parts.reference),
        onsight_version=onsight.__version__,
    )


def _facts(run: MonitorRun) -> dict[str, str]:
    window, times = run.window, run.window.created_at
    span = f"{times[-1]:%Y-%m-%d %H:%M} to {times[0]:%Y-%m-%d %H:%M} UTC" if times else "no predictions"
    verdict = run.judgement.combined
    return {
        "window": f"{window.n_rows} predictions, {span}",
        "tested": f"{verdict.n_window} of them, after thinning, against {verdict.n_reference} references",
        "data set": f"{run.metadata.dataset_name} {run.metadata.dataset_tag}",
        "tested at": f"{run.tested_at:%Y-%m-%d %H:%M:%S} UTC",
        "run": run.run_id,
    }


def _largest(run: MonitorRun) -> list[FeatureEffect]:
    return sorted(run.judgement.effects, key=lambda effect: (-effect.statistic, effect.name))[:_MOST_EFFECTS]


def _plots(run: MonitorRun, reference: ReferenceData) -> dict[str, str]:
    """Data addresses by title; empty for a window that is too small to say anything."""
    if run.judgement.combined.is_drift is None:
        return {}
    before, now = reference_sample(reference), window_sample(run.window).take(run.judgement.kept)
    metadata = run.metadata
    drawn = {
        "Answers": plot_answers(before, now, metadata.classes, multi_label=metadata.classifier_type == "multi-label"),
        "Image properties": plot_properties(before, now),
        "Features that moved most": plot_features(before, now, run.judgement.effects, metadata.classes),
    }
    return {title: address for title, address in drawn.items() if address}


def _number(value: float | None) -> str:
    if value is None:
        return "n/a"
    if not math.isfinite(value):
        return "infinite"
    return f"{value:.2g}" if abs(value) < 0.01 else f"{value:.3f}"  # noqa: PLR2004 - as many digits as matter
