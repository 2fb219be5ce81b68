"""What Nginx does for the web page, in small: serves its files, and hands the API's routes on to dl_service."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

STATIC = Path(__file__).parents[2] / "services" / "web_ui" / "static"
POLICY = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'"
_HANDED_ON = ("authorization", "content-type", "x-request-id")


class _Handler(BaseHTTPRequestHandler):
    upstream = ""

    def do_GET(self) -> None:
        path = STATIC / (self.path.strip("/") or "index.html")
        if path.is_file():
            self._answer(200, path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
        else:
            self._hand_on()

    def do_POST(self) -> None:
        self._hand_on()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        pass

    def _hand_on(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() in _HANDED_ON}
        try:
            answer = httpx.request(
                self.command,
                self.upstream + self.path.removeprefix("/web"),
                content=content,
                headers=headers,
                trust_env=False,
                timeout=30,
            )
        except httpx.TransportError:
            self._answer(502, b"<html>Bad Gateway</html>", "text/html")
            return
        self._answer(answer.status_code, answer.content, answer.headers["content-type"])

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def serve_page() -> Iterator[Callable[[str], str]]:
    """Serves the page before a dl_service at the URL given; answers the page's own URL."""
    servers: list[ThreadingHTTPServer] = []

    def serve(upstream: str) -> str:
        handler = type("Handler", (_Handler,), {"upstream": upstream})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
