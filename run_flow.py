"""The one command: read a config, import its flow module, call `start(config)`."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from onsight.errors import OnsightError

EXIT_UNEXPECTED = 1
EXIT_INTERRUPTED = 130


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; heavy imports come after it, so that ``--help`` answers at once."""
    parser = argparse.ArgumentParser(
        prog="run_flow.py",
        description="Run an Onsight flow: python run_flow.py --config configs/full_flow_config.yaml",
        epilog="exit codes: 0 done, 1 unforeseen, 2 config, 3 data set, 4 data gate, 5 promotion gate, "
        "6 a server is down, 7 central storage, 8 bundle, 9 training, 130 interrupted",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="a .yaml or .json file of configs/")
    parser.add_argument(
        "--set", action="append", default=[], dest="changes", metavar="KEY=VALUE",
        help="change one key, such as train.hparams.epochs=1 (may be repeated)",
    )  # fmt: skip
    parser.add_argument(
        "--plan", action="store_true", help="print what would run and what it would replace; run nothing"
    )
    parser.add_argument(
        "--backtest", action="store_true", help="print when a retraining policy would have fired so far; run nothing"
    )
    parser.add_argument(
        "--schedule", action="store_true", help="let Prefect run this config at its schedule.every_h; run nothing now"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the newest unfinished run of this config")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks and the libraries' own log lines")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    arguments = parse_arguments(argv)
    try:
        _run(arguments)
    except OnsightError as error:
        _report(f"{error}", verbose=arguments.verbose)
        return error.exit_code
    except KeyboardInterrupt:
        _report("interrupted; `--resume` goes on with this run", verbose=arguments.verbose)
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: one line for people, a traceback on request
        hint = "" if arguments.verbose else "\n  -> run it again with --verbose to see where"
        _report(f"unforeseen {type(error).__name__}: {error}{hint}", verbose=arguments.verbose)
        return EXIT_UNEXPECTED
    return 0


def _run(arguments: argparse.Namespace) -> None:
    from onsight.config import read_config

    config = read_config(arguments.config, arguments.changes)
    from flows.environment import prepare_environment

    settings = prepare_environment(verbose=arguments.verbose)
    if arguments.plan:
        from flows.plan import print_plan

        print_plan(config, settings)
        return
    if arguments.backtest:
        from flows.backtest import print_backtest

        print_backtest(config, settings)
        return
    if arguments.schedule:
        from flows.schedule import schedule_flow

        schedule_flow(config, settings)
        return
    from flows.prefect_server import prefect_server

    with prefect_server(settings):
        importlib.import_module(config.flow_module).start(config, resume=arguments.resume)


def _report(message: str, *, verbose: bool) -> None:
    if verbose:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
