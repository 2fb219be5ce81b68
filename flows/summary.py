"""What a run ends with: stages with times, metrics against the champion, the verdict, links, and a curl that works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from flows.stages import StageTiming
from onsight.domain import GateVerdict, Interval

__all__ = ["RunSummary", "print_summary"]

_SHOWN_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "pr_auc", "log_loss", "ece")


@dataclass(frozen=True)
class RunSummary:
    """The outcome of a run, as its flow returns it.

    Attributes:
        metrics: The challenger's, with 95 % intervals.
        champion_metrics: Of the version it was compared with; empty for the first model.
        notes: Sentences that a person should read.
        links: Name to address or path.
        curl: A command that gets a prediction, or an empty string if nothing was deployed.
    """

    title: str
    timings: tuple[StageTiming, ...]
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    champion_metrics: Mapping[str, Interval] = field(default_factory=dict)
    verdict: GateVerdict | None = None
    notes: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    curl: str = ""


def print_summary(summary: RunSummary, console: Console) -> None:
    """Print a run's outcome as tables."""
    # Not as the table's title: that is wrapped to the table's width.
    console.print(f"\n{summary.title}", style="bold", highlight=False, markup=False, soft_wrap=True)
    console.print(_stage_table(summary))
    if summary.metrics:
        console.print(_metric_table(summary))
    if summary.verdict is not None:
        colour, word = ("green", "passed") if summary.verdict.passed else ("red", "failed")
        console.print(f"[bold {colour}]Promotion gate {word}[/]")
        for reason in summary.verdict.reasons:
            console.print(f"  {reason}", highlight=False, markup=False)
    for note in summary.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    for name, address in summary.links.items():
        console.print(f"{name:<12} {address}", highlight=False, markup=False, soft_wrap=True)
    if summary.curl:
        console.print("\nTry it:", style="bold")
        console.print(f"  {summary.curl}", highlight=False, markup=False, soft_wrap=True)


def _stage_table(summary: RunSummary) -> Table:
    table = Table()
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for timing in summary.timings:
        table.add_row(timing.name, f"{timing.wall_s:.1f}")
    table.add_section()
    table.add_row("total", f"{sum(timing.wall_s for timing in summary.timings):.1f}")
    return table


def _metric_table(summary: RunSummary) -> Table:
    table = Table(title="Metrics with 95 % intervals", title_justify="left", title_style="bold")
    table.add_column("metric")
    table.add_column("challenger", justify="right")
    table.add_column("champion", justify="right")
    for name in (name for name in _SHOWN_METRICS if name in summary.metrics):
        champion = summary.champion_metrics.get(name)
        table.add_row(name, _shown(summary.metrics[name]), _shown(champion) if champion else "-")
    return table


def _shown(interval: Interval) -> str:
    return f"{interval.value:.3f}  [{interval.low:.3f}, {interval.high:.3f}]"
