"""A temporary Prefect server as a child process, started before Prefect itself is imported so that both load at once.

``python -m flows.prefect_server PORT`` is that child: it ends when its standard input closes, so that a flow that is
killed leaves no server behind.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import httpx

from onsight.errors import DependencyError, StorageError
from onsight.settings import Settings

__all__ = ["prefect_server", "refuse_absent_server", "unreachable", "wait_for_prefect"]

_API_URL = "PREFECT_API_URL"
_START_TIMEOUT_S = 180.0
_POLL_S = 0.05
_LOG_TAIL = 500
# What Prefect sets for the temporary server that it starts itself.
_TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
_child: ContextVar[subprocess.Popen[bytes] | None] = ContextVar("temporary_prefect_server", default=None)


@contextmanager
def prefect_server(settings: Settings) -> Iterator[None]:
    """Start a server for the length of the block, unless the settings name one. It is not waited for.

    Raises:
        StorageError: The state folder cannot be made.
    """
    if settings.prefect_api_url:
        yield
        return
    port = _free_port()
    child = _start(port, _log_path(settings))
    os.environ[_API_URL] = f"http://127.0.0.1:{port}/api"
    token = _child.set(child)
    try:
        yield
    finally:
        _child.reset(token)
        del os.environ[_API_URL]
        child.terminate()
        child.communicate()


def refuse_absent_server(settings: Settings) -> None:
    """Ask the server that the settings name whether it is healthy; the temporary one is given its time.

    Raises:
        DependencyError: It does not say so.
    """
    if settings.prefect_api_url and _child.get() is None:
        try:
            _ask_health(settings)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(settings, error) from error


def wait_for_prefect(settings: Settings) -> None:
    """Wait until the temporary server is healthy.

    Raises:
        DependencyError: It ended, or did not become healthy in time; the message ends with its log.
    """
    child = _child.get()
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while child is not None:
        try:
            _ask_health(settings)
        except httpx.HTTPError as error:
            if child.poll() is not None or time.monotonic() > deadline_s:
                raise unreachable(settings, error) from error
            time.sleep(_POLL_S)
        else:
            return


def _ask_health(settings: Settings) -> None:
    url = f"{settings.prefect_api_url.rstrip('/')}/health"
    httpx.get(url, timeout=settings.request_timeout_s, trust_env=False).raise_for_status()


def unreachable(settings: Settings, error: Exception) -> DependencyError:
    """What to tell a person when Prefect does not answer."""
    if _child.get() is None:
        return DependencyError(
            f"Prefect at {settings.prefect_api_url} does not answer: {error}",
            hint="start the server, or set PREFECT_API_URL; unset it to run with a temporary server",
        )
    log_path = _log_path(settings)
    tail = log_path.read_text(errors="replace")[-_LOG_TAIL:].strip()
    return DependencyError(f"Prefect's temporary server does not answer: {tail or error}", hint=f"its log: {log_path}")


def _start(port: int, log_path: Path) -> subprocess.Popen[bytes]:
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.prefect_server", str(port)],
                cwd=Path(__file__).parents[1],
                env={**os.environ, **_TEMPORARY},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the flow: the server goes when the flow is done with it.
                start_new_session=True,
            )
    except OSError as error:
        raise StorageError(
            f"the log of Prefect's temporary server {log_path} cannot be written: {error.strerror}",
            hint="set ONSIGHT_STATE_DIR to a folder that can be written",
        ) from error


def _log_path(settings: Settings) -> Path:
    return settings.state_dir / "prefect" / "server.log"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(port: int) -> None:
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="error")


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
