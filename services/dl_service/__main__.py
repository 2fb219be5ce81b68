"""Runs the service: ``python -m services.dl_service``."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from typing import Any

import uvicorn
import uvicorn._subprocess
from pydantic import ValidationError
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from onsight.errors import ConfigError, DependencyError, OnsightError
from services.dl_service.fair_loop import ConnectionCounts, FairLoop
from services.dl_service.logs import configure_logging
from services.dl_service.settings import ServiceSettings

_APP = "services.dl_service.preloaded"
_LOOP = "services.dl_service.fair_loop:FairLoop"
_BACKLOG = 1024


def main() -> int:
    """Serves until it is stopped; answers the exit code."""
    try:
        settings = _read_settings()
        settings.check()
        listener = _listen(settings.host, settings.port)
    except OnsightError as error:
        print(f"dl_service: {error}", file=sys.stderr)
        return error.exit_code
    configure_logging(settings.log_level)
    with listener:
        host, port = listener.getsockname()[:2]
        logging.getLogger("services.dl_service").info("listening on http://%s:%s", host, port)
        return _serve_alone(settings, listener) if settings.workers == 1 else _supervise(settings, listener)


def _serve_alone(settings: ServiceSettings, listener: socket.socket) -> int:
    from services.dl_service.preloaded import create_app

    server = uvicorn.Server(uvicorn.Config(create_app(settings), **_options(settings)))
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _supervise(settings: ServiceSettings, listener: socket.socket) -> int:
    """Several worker processes on one socket; one that dies is replaced."""
    # Not in the state folder, which replicas may share.
    with tempfile.TemporaryDirectory(prefix="onsight-metrics-") as metrics_dir:
        # prometheus-client reads it when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
        _import_once_for_all_workers()
        return _run_workers(settings, listener)


def _run_workers(settings: ServiceSettings, listener: socket.socket) -> int:
    FairLoop.counts = ConnectionCounts(settings.workers)
    options = _options(settings) | {"workers": settings.workers, "loop": _LOOP}
    config = uvicorn.Config(f"{_APP}:create_worker", factory=True, **options)
    config.configure_logging()
    supervisor = Multiprocess(config, [listener])
    supervisor.run()
    return int(any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes))


def _import_once_for_all_workers() -> None:
    """Workers are forked from this process, which has imported the application; also those that replace one that died.

    uvicorn would spawn them, and each would import it again, for a second of CPU. Nothing here has started a thread of
    Python's. What the application is to find in the environment has to be there before.
    """
    importlib.import_module(_APP)
    uvicorn._subprocess.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]
    os.register_at_fork(after_in_child=_end_when_told)


def _end_when_told() -> None:
    """A worker that is told to end before it listens would only note it, as its supervisor does, and serve for ever."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _options(settings: ServiceSettings) -> dict[str, Any]:
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": settings.drain_timeout_s,
    }


def _read_settings() -> ServiceSettings:
    try:
        return ServiceSettings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"the environment holds wrong settings: {problems}") from error


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port that is taken is known before anything is opened."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise DependencyError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            "stop what listens there (`make stop` stops a service started here), or set DL_SERVICE_PORT",
            host=host,
            port=port,
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main())
