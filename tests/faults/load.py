"""Clients that never rest: each answer is checked at once, each failure is kept with the time it took."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.oracle import Oracle

TIMEOUT_S = 30.0
PAUSE_S = 0.05
# A connection that was idle when its process died is found dead by the next request on it.
AFTERMATH_S = 1.5


@dataclass(frozen=True)
class Answered:
    """An acknowledged prediction."""

    prediction_id: str
    version: int
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Broken:
    """A request that got no answer, and when."""

    request_id: str
    error: str
    began_s: float
    ended_s: float


@dataclass
class Load:
    """What several clients were answered, by request id.

    Attributes:
        refused: How often each status and code came.
        wrong: Answers that are not those of the version they name.
        windows: From when until when processes were being killed, on the monotonic clock.
        headers: Of every request, such as an API key.
        name: What its request ids begin with.
    """

    url: str
    oracle: Oracle
    headers: dict[str, str] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"load-{uuid.uuid4().hex[:12]}")
    acknowledged: dict[str, Answered] = field(default_factory=dict)
    refused: Counter[tuple[int, str]] = field(default_factory=Counter)
    versions: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    windows: list[tuple[float, float]] = field(default_factory=list)
    slowest_s: float = 0.0
    began_s: float = field(default_factory=time.monotonic)
    stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Marks the time in which processes are killed: broken connections are no wonder in it."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.windows.append((began_s, time.monotonic() + AFTERMATH_S))

    def unexplained(self) -> list[Broken]:
        """Requests that were broken at no time of a kill, or that just hung."""
        return [one for one in self.broken if one.error.endswith("Timeout") or not self._is_explained(one)]

    def wait_for(self, more: int, timeout_s: float = 60.0) -> None:
        """Waits for that many further acknowledged predictions."""
        goal = len(self.acknowledged) + more
        deadline_s = time.monotonic() + timeout_s
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline_s, f"not {more} more answers within {timeout_s} s; {self.refused}"
            time.sleep(0.02)

    def wait_until_calm(self, for_s: float = 2.0, timeout_s: float = 60.0) -> None:
        """Waits until nothing was refused for some time."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            refused = self.refused.total()
            time.sleep(for_s)
            if self.refused.total() == refused:
                return
            assert time.monotonic() < deadline_s, f"still refusing after {timeout_s} s: {self.refused}"

    def send_until_stopped(self, client: int) -> None:
        with httpx.Client(base_url=self.url, headers=self.headers, trust_env=False, timeout=TIMEOUT_S) as http:
            number = 0
            while not self.stopped.is_set():
                self._send(http, f"{self.name}-{client}-{number}", (client + number) % len(self.oracle.contents))
                number += 1

    def _is_explained(self, one: Broken) -> bool:
        return any(one.began_s <= end_s and one.ended_s >= begin_s for begin_s, end_s in self.windows)

    def _send(self, http: httpx.Client, request_id: str, image: int) -> None:
        began_s = time.monotonic()
        headers = {"X-Request-ID": request_id}
        try:
            response = http.post("/predict", content=self.oracle.contents[image], headers=headers)
            body = response.json()
        except (httpx.TransportError, ValueError) as error:
            with self._lock:
                self.broken.append(Broken(request_id, type(error).__name__, began_s, time.monotonic()))
            time.sleep(PAUSE_S)  # a service that is starting needs the cores more than its clients do
            return
        with self._lock:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            self._note(request_id, image, response.status_code, body)

    def _note(self, request_id: str, image: int, status: int, body: dict[str, Any]) -> None:
        if status != 200:
            self.refused[status, str(body.get("code"))] += 1
            return
        probabilities = tuple(body["prediction"].values())
        self.acknowledged[request_id] = Answered(body["prediction_id"], body["model_version"], probabilities)
        self.versions[body["model_version"]] += 1
        if not self.oracle.is_right(image, body):
            self.wrong.append(f"{request_id} image {image}: {body}")


@contextmanager
def continuous_load(
    url: str, oracle: Oracle, clients: int = 4, headers: dict[str, str] | None = None
) -> Iterator[Load]:
    """Sends from several threads for the length of the block."""
    load = Load(url, oracle, headers or {})
    threads = [threading.Thread(target=load.send_until_stopped, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    try:
        load.wait_for(20)
        yield load
    finally:
        load.stopped.set()
        for thread in threads:
            thread.join()
