"""``services/wait.sh``: what it takes for a healthy stack."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

_TWO = "echo one; echo two"
_WELL = "/web running healthy 0\n/exporter running unchecked 0\n/keys exited unchecked 0"


@pytest.fixture
def wait(
    repository: Path, tmp_path: Path, make_program: Callable[[str, str], Path]
) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """Runs the script once, with these lines for ``docker-compose ps`` and ``docker inspect``."""

    def run(compose: str, inspect: str) -> subprocess.CompletedProcess[str]:
        make_program("docker", f'case $1 in logs) echo "the log of $4";; inspect) {inspect};; esac')
        environment = os.environ | {
            "COMPOSE": str(make_program("compose", compose)),
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "WAIT_TIMEOUT_S": "0",
        }
        command = ["sh", str(repository / "services/wait.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_wait_when_all_is_well_then_says_so(wait: Callable[[str, str], subprocess.CompletedProcess[str]]) -> None:
    done = wait(_TWO, f"echo '{_WELL}'")

    assert (done.returncode, done.stdout) == (0, "every service is healthy\n")


def test_wait_when_one_is_not_healthy_then_shows_its_log(
    wait: Callable[[str, str], subprocess.CompletedProcess[str]],
) -> None:
    done = wait(_TWO, f"echo '{_WELL}\n/sick running unhealthy 0'")

    assert (done.returncode, done.stdout) == (1, "")
    assert "the log of sick" in done.stderr
    assert "/sick running unhealthy 0" in done.stderr


@pytest.mark.parametrize(
    ("compose", "inspect", "said"),
    [
        ("echo 'no such file' >&2; exit 14", f"echo '{_WELL}'", "no such file"),
        ("exit 0", f"echo '{_WELL}'", "the stack has no container"),
        (_TWO, "echo 'no engine answers' >&2; exit 1", "no engine answers"),
    ],
    ids=["compose-fails", "no-container", "docker-fails"],
)
def test_wait_when_nobody_says_how_the_stack_is_then_fails(
    compose: str, inspect: str, said: str, wait: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    done = wait(compose, inspect)

    assert done.returncode != 0
    assert "healthy" not in done.stdout
    assert said in done.stderr
