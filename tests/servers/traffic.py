"""Clients that send pictures to a service in the background and remember every answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.servers import pictures


@dataclass
class Traffic:
    """What was answered so far.

    Attributes:
        acknowledged: The answers with status 200.
        refused: Status and code of every other answer.
        broken: Requests that got no answer.
    """

    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    broken: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def send_until_stopped(self, url: str, content: bytes) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            while not self.stop.is_set():
                try:
                    response = client.post("/predict", content=content)
                except httpx.TransportError:
                    self.broken += 1
                    continue
                if response.status_code == 200:
                    self.acknowledged.append(response.json())
                else:
                    self.refused.append((response.status_code, response.json()["code"]))


@contextmanager
def background_traffic(url: str, clients: int = 4) -> Iterator[Traffic]:
    """Sends from several clients for the length of the block."""
    traffic = Traffic()
    content = pictures.jpeg()
    threads = [threading.Thread(target=traffic.send_until_stopped, args=(url, content)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        traffic.stop.set()
        for thread in threads:
            thread.join()
