"""dl_service as a background process of this machine: started, recognised again, and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

import onsight
from onsight.deployment.client import DeployClient
from onsight.errors import DependencyError
from onsight.place import place_of
from onsight.settings import Settings

__all__ = ["LocalService", "start_local_service", "stop_local_service"]

_MODULE = "services.dl_service"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0
_POLL_S = 0.05
_LOG_LINES_SHOWN = 15


@dataclass(frozen=True)
class LocalService:
    """A dl_service process of this machine.

    Attributes:
        started: Whether this call started it; otherwise it ran already.
        message: What was done, for a person.
    """

    url: str
    pid: int
    log_path: Path
    started: bool
    message: str


@dataclass(frozen=True)
class _PidFile:
    pid: int
    created_s: float
    url: str


def start_local_service(settings: Settings, host: str, port: int) -> LocalService:
    """Makes sure that dl_service answers at the address, starting it as a detached process if nothing does.

    Raises:
        DependencyError: The port is taken by something else, by a service that works with another storage or state
            folder, or the service does not come up.
    """
    url = f"http://{host}:{port}"
    log_path = settings.state_dir.absolute() / "dl_service.log"
    with DeployClient(url, settings.request_timeout_s) as client:
        alive = client.livez()
        if alive is not None:
            _refuse_other_place(str(alive.get("place")), settings, url)
            pid = int(alive["pid"])
            return LocalService(url, pid, log_path, started=False, message=f"dl_service answers at {url} (pid {pid})")
        process = _spawn(settings, (host, port), log_path)
        _wait_until_alive(client, process, log_path)
    # It is meant to outlive this process; without this, subprocess would warn of a child left behind.
    process.returncode = 0
    _write_pid_file(settings, _PidFile(process.pid, psutil.Process(process.pid).create_time(), url))
    message = f"started dl_service at {url} (pid {process.pid}, log {log_path}); `make stop` stops it"
    return LocalService(url, process.pid, log_path, started=True, message=message)


def stop_local_service(settings: Settings) -> str:
    """Stops the service that ``start_local_service`` started, if it still runs; answers what was done.

    Raises:
        DependencyError: It does not end.
    """
    path = _pid_path(settings)
    known = _read_pid_file(path)
    process = _our_process(known) if known else None
    if known is None or process is None:
        path.unlink(missing_ok=True)
        return "no local dl_service runs"
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        process.kill()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except psutil.TimeoutExpired as error:
            raise DependencyError(f"dl_service (pid {known.pid}) does not end", "end it by hand") from error
    path.unlink(missing_ok=True)
    return f"stopped dl_service at {known.url} (pid {known.pid})"


def _spawn(settings: Settings, address: tuple[str, int], log_path: Path) -> subprocess.Popen[bytes]:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **_environment(settings),
        "DL_SERVICE_HOST": address[0],
        "DL_SERVICE_PORT": str(address[1]),
    }
    # The rooms lie beside each other: where the library is, the services are.
    root = Path(onsight.__file__).resolve().parent.parent
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as variables, with absolute paths: the process runs in another folder."""
    storage = settings.central_storage_url
    values = {
        "ONSIGHT_STATE_DIR": str(settings.state_dir.absolute()),
        "ONSIGHT_CENTRAL_STORAGE_URL": storage if "://" in storage else str(Path(storage).absolute()),
        "ONSIGHT_S3_ENDPOINT_URL": settings.s3_endpoint_url,
        "ONSIGHT_DATABASE_URL": settings.predictions_database_url,
    }
    return {name: value for name, value in values.items() if value}


def _wait_until_alive(client: DeployClient, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while client.livez() is None:
        if process.poll() is not None:
            raise DependencyError(
                f"dl_service ended with code {process.returncode} when it was started; the end of {log_path}:\n"
                + _end_of(log_path),
                exit_code=process.returncode,
            )
        if time.monotonic() > deadline_s:
            process.terminate()
            raise DependencyError(
                f"dl_service does not answer {_START_TIMEOUT_S:g} s after its start", f"see {log_path}"
            )
        time.sleep(_POLL_S)


def _refuse_other_place(place: str, settings: Settings, url: str) -> None:
    if place != place_of(settings):
        raise DependencyError(
            f"the dl_service at {url} works with another central storage, state folder or database than this run "
            f"({settings.central_storage_url}, {settings.state_dir})",
            "stop it where it was started (`make stop` there), or choose another port: deploy.service_url",
            url=url,
        )


def _pid_path(settings: Settings) -> Path:
    return settings.state_dir / "dl_service.pid"


def _write_pid_file(settings: Settings, content: _PidFile) -> None:
    path = _pid_path(settings)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(content)))
    fresh.replace(path)


def _read_pid_file(path: Path) -> _PidFile | None:
    try:
        return _PidFile(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _our_process(known: _PidFile) -> psutil.Process | None:
    """The process, unless it ended and its number now belongs to another one."""
    try:
        process = psutil.Process(known.pid)
        is_ours = abs(process.create_time() - known.created_s) < 1 and _MODULE in process.cmdline()
    except psutil.Error:
        return None
    return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None


def _end_of(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
