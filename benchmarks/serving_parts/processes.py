"""Starting servers, and what their whole process trees use."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

__all__ = ["NotRunError", "Tree", "answers", "free_port", "served", "wait_until"]

_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/]+/)*")
_MIB = 1024 * 1024


class NotRunError(Exception):
    """A row that cannot be measured; the message says why."""


@dataclass(frozen=True)
class Tree:
    """A process and all that descend from it."""

    pid: int

    def cpu_s(self) -> float:
        """User and system time so far, of the living and of those who died and were waited for."""
        times = [process.cpu_times() for process in self._living()]
        return sum(used.user + used.system + used.children_user + used.children_system for used in times)

    def resident_mib(self) -> list[dict[str, float | str]]:
        """Resident and proportional memory of each process, the largest first."""
        found: list[dict[str, float | str]] = []
        for process in self._living():
            try:
                memory, command = process.memory_full_info(), process.cmdline()
            except psutil.Error:
                continue
            rss_mib, pss_mib = round(memory.rss / _MIB, 1), round(memory.pss / _MIB, 1)
            # Where its programs lie is this machine's own matter.
            name = _FOLDERS.sub("", " ".join(command))[:100]
            found.append({"process": name, "rss_mib": rss_mib, "pss_mib": pss_mib})
        return sorted(found, key=lambda row: -float(row["rss_mib"]))

    def _living(self) -> list[psutil.Process]:
        root = psutil.Process(self.pid)
        return [root, *(process for process in root.children(recursive=True) if process.is_running())]


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str, pause_s: float = 0.05) -> None:
    """Waits for a condition.

    Raises:
        NotRunError: It did not come to hold.
    """
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            raise NotRunError(f"{what}: not within {timeout_s:g} s")
        time.sleep(pause_s)


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def served(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    log: Path,
    is_up: Callable[[], bool],
    timeout_s: float = 120,
) -> Iterator[Tree]:
    """Runs a server until the block ends.

    Args:
        command: Its program and arguments.
        environment: All of it.
        log: Its output.
        is_up: Whether it answers.
        timeout_s: For it to answer.

    Raises:
        NotRunError: It ended, or does not answer.
    """
    launcher = [sys.executable, "-m", "benchmarks.serving_parts.launch", *map(str, command)]
    with log.open("wb") as output:
        process = subprocess.Popen(launcher, env=dict(environment), stdout=output, stderr=output)

    def is_up_or_dead() -> bool:
        if process.poll() is not None:
            tail = log.read_text(errors="replace")[-600:]
            raise NotRunError(f"the server ended with {process.returncode}; {log} ends: {tail}")
        return is_up()

    try:
        wait_until(is_up_or_dead, timeout_s, f"the server does not answer, see {log}")
        yield Tree(process.pid)
    finally:
        process.terminate()
        process.wait(60)
