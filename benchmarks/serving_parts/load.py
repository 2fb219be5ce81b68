"""The load generator: a closed loop of prepared HTTP/1.1 requests, in a process of its own with little CPU of its own.

Reads its orders as one line of JSON (``Orders``), warms up, prints ``warm``, waits for a line, measures, and prints
what it saw as JSON (``Seen``).
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

__all__ = ["Orders", "Seen"]

_BETWEEN_CONNECTIONS_S = 0.005


@dataclass(frozen=True)
class Orders:
    """What to send, how, and for how long.

    Attributes:
        request: The bytes of one request, base64.
    """

    port: int
    request: str
    clients: int
    warm_up_s: float
    duration_s: float
    timeout_s: float = 120.0


@dataclass
class Seen:
    """What came back.

    Attributes:
        requests: Answered with 200.
        warm_up_requests: Answered with 200 before the measurement.
        seconds: From the first request to the last answer.
        errors: Other answers, and connections lost.
        cpu_s: Of this process.
    """

    requests: int = 0
    warm_up_requests: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    errors: int = 0
    first_error: str = ""
    cpu_s: float = 0.0


@dataclass
class Phase:
    """One stretch of load; ends when every client has its last answer."""

    started_s: float
    deadline_s: float
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    latencies_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    busy: int = 0


class Client(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last one is complete."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._phase: Phase | None = None
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def begin(self, phase: Phase) -> None:
        """Sends until the phase ends."""
        self._phase = phase
        phase.busy += 1
        self._send()

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not is_complete(self._buffer) or self._phase is None:
            return
        now_s = time.perf_counter()
        answer, self._buffer = self._buffer, b""
        if answer[9:12] == b"200":
            self._phase.latencies_s.append(now_s - self._sent_s)
        else:
            self._phase.errors.append(answer[:300].decode(errors="replace"))
        if now_s < self._phase.deadline_s and len(self._phase.errors) < 20:
            self._send()
        else:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self._buffer = None, b""
        if self._phase is not None:
            self._phase.errors.append(f"the connection was lost: {exc}")
            self._end()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        if self._transport is None:
            self.connection_lost(None)
        else:
            self._transport.write(self._request)

    def _end(self) -> None:
        phase, self._phase = self._phase, None
        if phase is not None:
            phase.busy -= 1
            if phase.busy == 0:
                phase.idle.set()


def is_complete(answer: bytes) -> bool:
    """Whether the bytes are a whole HTTP answer."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[: end + 2].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return len(answer) >= end + 4 + int(head[at + 17 : head.index(b"\r\n", at + 2)])
    return answer.endswith(b"0\r\n\r\n")


async def run_phase(orders: Orders, duration_s: float) -> Phase:
    """Loads for a while, over connections of its own: a server may close those that have been idle."""
    loop, request = asyncio.get_running_loop(), base64.b64decode(orders.request)
    clients = [Client(request) for _ in range(orders.clients)]
    for client in clients:
        # Not in one burst, which a single worker process would accept whole.
        await asyncio.sleep(_BETWEEN_CONNECTIONS_S)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", orders.port)  # type: ignore[misc]
    phase = Phase(started_s := time.perf_counter(), started_s + duration_s)
    for client in clients:
        client.begin(phase)
    await asyncio.wait_for(phase.idle.wait(), duration_s + orders.timeout_s)
    for client in clients:
        client.close()
    return phase


async def measure(orders: Orders) -> Seen:
    """Warms up, waits for the word, measures."""
    warm = await run_phase(orders, orders.warm_up_s) if orders.warm_up_s else Phase(0, 0)
    print("warm", flush=True)
    sys.stdin.readline()
    started_cpu_s = time.process_time()
    phase = await run_phase(orders, orders.duration_s)
    seen = Seen(seconds=time.perf_counter() - phase.started_s, cpu_s=time.process_time() - started_cpu_s)
    latencies_ms = sorted(1000 * latency for latency in phase.latencies_s) or [0.0]
    errors = warm.errors + phase.errors
    seen.requests, seen.warm_up_requests = len(phase.latencies_s), len(warm.latencies_s)
    seen.p50_ms, seen.p99_ms, seen.max_ms = (latencies_ms[int(q * (len(latencies_ms) - 1))] for q in (0.5, 0.99, 1))
    seen.errors, seen.first_error = len(errors), errors[0] if errors else ""
    return seen


def main() -> None:
    """Carries out one order."""
    orders = Orders(**json.loads(sys.stdin.readline()))
    print(json.dumps(asdict(uvloop.run(measure(orders)))), flush=True)


if __name__ == "__main__":
    main()
