"""``python -m onsight.deployment stop``: ends the local service."""

from __future__ import annotations

import argparse
import sys

from onsight.deployment.local import stop_local_service
from onsight.errors import OnsightError
from onsight.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m onsight.deployment", description="The local dl_service process.")
    parser.add_argument("command", choices=["stop"], help="stop: end the service that a flow started here")
    parser.parse_args(arguments)
    try:
        print(stop_local_service(Settings()))
    except OnsightError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
