"""``python -m onsight.feedback``: labels from a CSV file, and the accuracy that they show."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from onsight.db import AccuracyRecord, Database, open_database, upgrade
from onsight.errors import OnsightError
from onsight.feedback.accuracy import measure_accuracy
from onsight.feedback.importing import import_opinions
from onsight.settings import Settings
from onsight.storage import open_store

__all__ = ["main"]

_COLUMNS = ("VERSION", "WEEK", "OF", "LABELS", "PREDICTIONS", "LABELLED", "RIGHT", "95 %", "EXPECTED", "DELAY H")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code, which is the error's (see ``onsight.errors``)."""
    options = _parser().parse_args(arguments)
    settings = Settings()
    try:
        database = open_database(settings.predictions_database_url)
        try:
            upgrade(database)
            _run(options, database, settings)
        finally:
            database.close()
    except OnsightError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m onsight.feedback", description="What people say predictions should have been (docs/feedback.md)."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    load = commands.add_parser("import", help="keep the labels of a CSV file: all of them, or none")
    load.add_argument("file", metavar="FILE.csv", type=Path, help="columns prediction_id,label,who,when")
    show = commands.add_parser("accuracy", help="measure how right each version was, week by week, and print it")
    show.add_argument("--weeks", type=_weeks, default=8, help="whole weeks before this one (default: 8)")
    return parser


def _weeks(text: str) -> int:
    weeks = int(text)
    if not 0 <= weeks <= 520:  # noqa: PLR2004 - ten years
        raise argparse.ArgumentTypeError("0 to 520")
    return weeks


def _run(options: argparse.Namespace, database: Database, settings: Settings) -> None:
    store = open_store(settings)
    if options.command == "import":
        report = import_opinions(options.file, database, store)
        sys.stdout.write(f"{report.n_new} opinions are new, {report.n_lines - report.n_new} were known\n")
        return
    measured = measure_accuracy(database, store, options.weeks)
    rows = [_row(name, record) for name, records in measured.items() for record in records if record.period == "week"]
    sys.stdout.write("\n".join(_table(rows)) + "\n")


def _row(name: str, record: AccuracyRecord) -> tuple[str, ...]:
    year, week, _ = record.starts_at.isocalendar()
    interval = f"{record.accuracy_low:.3f} to {record.accuracy_high:.3f}" if record.n_labelled else "-"
    note = "" if record.is_calibrated else " (uncalibrated)"
    return (
        name,
        f"{year}-W{week:02}",
        f"{record.group_by} {record.class_name}".strip(),
        record.source,
        str(record.n_predictions),
        str(record.n_labelled),
        _number(record.accuracy, 3),
        interval,
        "-" if record.expected_accuracy is None else f"{record.expected_accuracy:.3f}{note}",
        _number(record.delay_median_h, 1),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [_COLUMNS, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


if __name__ == "__main__":
    sys.exit(main())
