"""Makes the peers' virtual environments: ``python benchmarks/serving_parts/peers/setup.py [NAME...]``.

Each gets its own below the temporary folder (or ``ONSIGHT_BENCH_PEERS``), from ``requirements/NAME.txt``; they are
never installed beside Onsight. ``--compile`` resolves ``requirements/NAME.in`` again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["environments_dir"]

REQUIREMENTS = Path(__file__).parent / "requirements"


def environments_dir() -> Path:
    """Where the peers' virtual environments are."""
    return Path(os.environ.get("ONSIGHT_BENCH_PEERS") or Path(tempfile.gettempdir()) / "peers")


def names() -> list[str]:
    """Peers with a list of requirements."""
    return sorted(path.stem for path in REQUIREMENTS.glob("*.in"))


def install(name: str) -> bool:
    """Makes one environment anew; whether that went well."""
    folder = environments_dir() / name
    uv = Path(sys.executable).with_name("uv")
    # The interpreter of this process: builds of one version differ by a quarter in speed.
    interpreter = str(Path(sys.executable).resolve())
    make = [str(uv), "venv", "--quiet", "--clear", "--python", interpreter, str(folder)]
    fill = [str(uv), "pip", "sync", "--quiet", "--python", str(folder / "bin" / "python")]
    steps = (make, [*fill, str(REQUIREMENTS / f"{name}.txt")])
    return all(subprocess.run(step, check=False).returncode == 0 for step in steps)


def resolve(name: str) -> None:
    """Pins what a peer needs."""
    uv = Path(sys.executable).with_name("uv")
    options = ["--quiet", "--python-version", "3.11", "--no-emit-index-url", "--no-annotate", "--no-header"]
    source, target = REQUIREMENTS / f"{name}.in", REQUIREMENTS / f"{name}.txt"
    subprocess.run([str(uv), "pip", "compile", *options, str(source), "-o", str(target)], check=True)


def main() -> int:
    """Makes the environments asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*names(), []], metavar="NAME", help=", ".join(names()))
    parser.add_argument("--compile", action="store_true", help="resolve the requirements again first")
    arguments = parser.parse_args()
    failed = []
    for name in arguments.names or names():
        if arguments.compile:
            resolve(name)
        done = install(name)
        print(f"{name}: {environments_dir() / name}" if done else f"{name}: FAILED", flush=True)
        failed += [] if done else [name]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
