"""The stack's Nginx as a process of Debian's package, before replicas that do as they are told."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.servers.dl_service import free_port, wait_until

_ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
_LIMITS = {
    "ONSIGHT_MAX_BODY_BYTES": "2000000",
    "ONSIGHT_MAX_BATCH_BODY_BYTES": "4000000",
    "ONSIGHT_RECEIVE_TIMEOUT_S": "30",
    "ONSIGHT_REQUEST_DEADLINE_S": "10",
    "NGINX_REQUESTS_PER_S": "500",
    "NGINX_TLS": "off",
}


class Replicas:
    """Three addresses of one name. Each reads a request, and answers it or closes the connection without a word.

    Attributes:
        seen: Method and path of each request that came.
        dying: Of the next requests, how many find their replica dying.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.seen: list[str] = []
        self.dying = 0
        self._servers = [ThreadingHTTPServer((address, self.port), self._handler()) for address in _ADDRESSES]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        replicas = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                replicas.seen.append(f"{self.command} {self.path}")
                if replicas.dying > 0:
                    replicas.dying -= 1
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


class NameServer:
    """Gives the three addresses for every name."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(512)
            if not question:
                return
            counts = b"\x00\x01" + len(_ADDRESSES).to_bytes(2, "big") + bytes(4)
            # A pointer to the question's name, type A, class IN, valid for a second, four bytes.
            record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04"
            answers = b"".join(record + socket.inet_aton(address) for address in _ADDRESSES)
            self._socket.sendto(question[:2] + b"\x81\x80" + counts + question[12:] + answers, sender)


@dataclass(frozen=True)
class Door:
    """A running Nginx."""

    port: int
    folder: Path
    replicas: Replicas
    client: httpx.Client = field(repr=False)

    def begin_upload(self, path: str, length: int) -> socket.socket:
        """A client that Nginx waits for: it may send its body, and sends a kilobyte of it."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        head = f"POST {path} HTTP/1.1\r\nHost: door\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 100 "), answer
        connection.sendall(bytes(1000))
        return connection


@pytest.fixture
def nginx(tmp_path: Path, repository: Path) -> Iterator[Door]:
    """The configuration and the start script as the image has them, with other paths, ports and name server."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("Nginx is not installed: apt-get install nginx")
    replicas, names, port = Replicas(), NameServer(), free_port()
    moved = {"dl_service:4242": f"dl_service:{replicas.port}", "127.0.0.11": f"127.0.0.1:{names.port}"}
    _write_parts(repository, tmp_path, program, port, moved)
    with (tmp_path / "nginx.log").open("wb") as log:
        process = subprocess.Popen(["sh", str(tmp_path / "start.sh")], stdout=log, stderr=log, env=os.environ | _LIMITS)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            wait_until(lambda: _is_up(process, client, tmp_path / "nginx.log"))
            yield Door(port, tmp_path, replicas, client)
    finally:
        process.terminate()
        process.wait()
        replicas.close()
        names.close()


def _write_parts(repository: Path, folder: Path, program: str, port: int, moved: dict[str, str]) -> None:
    (folder / "web_api_key").write_text("page")
    (folder / "mime.types").write_text("")
    # Nginx's workers give up root, and pytest's folders are their owner's alone.
    options = "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"
    changes = moved | {
        "/tmp/nginx": str(folder / "written"),
        "/etc/onsight": str(folder),
        "/etc/nginx": str(folder),
        "/run/secrets": str(folder),
        "exec nginx": f"exec {program}",
        "daemon off;": options,
        "listen 8080": f"listen 127.0.0.1:{port}",
        "listen 8081": f"listen 127.0.0.1:{free_port()}",
        "listen 8082": f"listen 127.0.0.1:{free_port()}",
    }
    for name in ("nginx.conf", "start.sh"):
        text = (repository / "services/nginx" / name).read_text()
        for published, here in changes.items():
            text = text.replace(published, here)
        (folder / name).write_text(text)


def _is_up(process: subprocess.Popen[bytes], client: httpx.Client, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return client.get("/").status_code == 302
    except httpx.TransportError:
        return False
