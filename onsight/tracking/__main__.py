"""``python -m onsight.tracking sync``: send what runs could not send while the tracking server was away."""

from __future__ import annotations

import argparse
import sys

from onsight.errors import DependencyError, OnsightError
from onsight.settings import Settings

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see ``--help``.

    Returns:
        The exit code: 0, or a dependency error's when something is still unsent.
    """
    parser = argparse.ArgumentParser(prog="python -m onsight.tracking", description=__doc__)
    parser.add_argument("command", choices=["sync"], help="send every run's kept calls to MLFLOW_TRACKING_URI")
    parser.parse_args(arguments)
    from onsight.tracking.sync import sync_journals

    code = 0
    try:
        for run in sync_journals(Settings()):
            left = f", {run.unsent} kept: {run.problem}" if run.problem else ""
            print(f"run {run.run_id}: {run.sent} calls sent{left}")
            code = DependencyError.exit_code if run.problem else code
    except OnsightError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
