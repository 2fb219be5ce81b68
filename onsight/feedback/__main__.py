"""``python -m onsight.feedback``: labels from a CSV file, and the accuracy that they show."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from onsight.db import Database, open_database, upgrade
from onsight.errors import OnsightError
from onsight.feedback.accuracy import measure_accuracy
from onsight.feedback.describing import tabulate_weeks
from onsight.feedback.importing import import_opinions
from onsight.settings import Settings
from onsight.storage import open_store

__all__ = ["main"]

_MOST_WEEKS = 520


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
    if not 0 <= weeks <= _MOST_WEEKS:
        raise argparse.ArgumentTypeError(f"0 to {_MOST_WEEKS}")
    return weeks


def _run(options: argparse.Namespace, database: Database, settings: Settings) -> None:
    store = open_store(settings)
    if options.command == "import":
        report = import_opinions(options.file, database, store)
        sys.stdout.write(f"{report.n_new} opinions are new, {report.n_lines - report.n_new} were known\n")
        return
    lines = tabulate_weeks(measure_accuracy(database, store, options.weeks))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
