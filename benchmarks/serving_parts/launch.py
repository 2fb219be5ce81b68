"""Runs a server and whatever it starts as one tree: ``python -m benchmarks.serving_parts.launch COMMAND...``.

Servers leave orphans (Ray's daemons, say). This process adopts them, so that their CPU time is counted in its tree and
none outlives it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_GRACE_S = 10


def main() -> int:
    """Runs the command until it ends or is to end; answers its exit code."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    child = subprocess.Popen(sys.argv[1:])

    def stop(number: int, _: FrameType | None) -> None:
        if number == signal.SIGALRM:
            _kill_all()
        else:
            signal.alarm(_GRACE_S)
            child.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, stop)
    code = _reap_until(child.pid)
    _kill_all()
    return code


def _reap_until(pid: int) -> int:
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _kill_all() -> None:
    for process in psutil.Process().children(recursive=True):
        process.kill()


if __name__ == "__main__":
    sys.exit(main())
