"""Accuracy in words and in a table, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onsight.db import AccuracyRecord

__all__ = ["describe_week", "tabulate_weeks"]

_COLUMNS = ("VERSION", "WEEK", "OF", "LABELS", "PREDICTIONS", "LABELLED", "RIGHT", "95 %", "EXPECTED", "DELAY H")


def describe_week(name: str, records: Sequence[AccuracyRecord]) -> str:
    """A sentence on the newest week of a version.

    Args:
        name: The bundle's.
        records: Of the version, at least one week.
    """
    weeks = [one for one in records if (one.period, one.group_by, one.source) == ("week", "all", "arrived")]
    newest = max(weeks, key=lambda record: record.starts_at)
    expected = "" if newest.is_calibrated else " (uncalibrated)"
    sentence = f"{name}, {_week(newest)}: {newest.expected_accuracy:.1%} of {newest.n_predictions} answers{expected}"
    if newest.accuracy is None:
        return f"{sentence} are expected to be right; no label has arrived"
    interval = f"{newest.accuracy_low:.1%} to {newest.accuracy_high:.1%}"
    return (
        f"{sentence} are expected to be right; of the {newest.n_labelled} labelled ones {newest.accuracy:.1%} are "
        f"({interval})"
    )


def tabulate_weeks(measured: Mapping[str, Sequence[AccuracyRecord]]) -> list[str]:
    """The lines of a table: a row for each version, week, group and way that labels came."""
    rows = [_row(name, record) for name, records in measured.items() for record in records if record.period == "week"]
    lines = [_COLUMNS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _row(name: str, record: AccuracyRecord) -> tuple[str, ...]:
    interval = f"{record.accuracy_low:.3f} to {record.accuracy_high:.3f}" if record.n_labelled else "-"
    note = "" if record.is_calibrated else " (uncalibrated)"
    return (
        name,
        _week(record),
        f"{record.group_by} {record.class_name}".strip(),
        record.source,
        str(record.n_predictions),
        str(record.n_labelled),
        _number(record.accuracy, 3),
        interval,
        "-" if record.expected_accuracy is None else f"{record.expected_accuracy:.3f}{note}",
        _number(record.delay_median_h, 1),
    )


def _week(record: AccuracyRecord) -> str:
    year, week, _ = record.starts_at.isocalendar()
    return f"{year}-W{week:02}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
