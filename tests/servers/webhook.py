"""A real HTTP server that takes alerts, and remembers them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class WebhookServer:
    """Answers 200 and keeps what was posted, unless ``statuses`` holds others to answer first.

    Args:
        address: Where it listens: a host and a port, 0 for any that is free.
    """

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.posts: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.asked = 0
        self._server = ThreadingHTTPServer(address, self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=secret"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                webhook.asked += 1
                status = webhook.statuses.pop(0) if webhook.statuses else 200
                if status == 200:
                    webhook.posts.append(json.loads(content))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


@pytest.fixture
def webhook_server() -> Iterator[WebhookServer]:
    server = WebhookServer()
    yield server
    server.close()
