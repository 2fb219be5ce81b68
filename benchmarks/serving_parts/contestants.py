"""What a row of the table is: something that serves a network, and the bytes that ask it for one prediction."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Protocol

from benchmarks.serving_parts.inputs import Network
from benchmarks.serving_parts.processes import NotRunError, Tree
from tests.servers.postgres import PostgresServer

__all__ = ["ROOT", "Contestant", "Place", "Running", "clean_environment", "http_request", "multipart", "probabilities"]

ROOT = Path(__file__).parents[2]
_BOUNDARY = "----onsightbenchmarkboundary"


@dataclass(frozen=True)
class Place:
    """What contestants share.

    Attributes:
        photograph: The JPEG that every request carries.
        postgres_tree: The database's processes.
        workers: Worker processes of each contestant that has them: one to a core.
    """

    work: Path
    photograph: bytes
    postgres: PostgresServer
    postgres_tree: Tree
    workers: int


@dataclass(frozen=True)
class Running:
    """A contestant that serves.

    Attributes:
        request: The bytes of one request.
        read: Probabilities from the body of an answer.
        must_hold: Keys that an answer must have; without them the row is not what it says.
        tolerance: Of the probabilities: other decoders and resize filters give other pixels.
        count_logged: Predictions on record, where they are to be.
        must_log: The share of the answers that must be.
        settle_s: To wait before and after a measurement, for work that goes on in the background.
    """

    tree: Tree
    port: int
    request: bytes
    read: Callable[[bytes], list[float]]
    must_hold: tuple[str, ...] = ()
    tolerance: float = 2e-3
    count_logged: Callable[[], int] | None = None
    must_log: float = 1.0
    settle_s: float = 0.0


class Contestant(Protocol):
    """One row of the table."""

    @property
    def name(self) -> str:
        """As in the table."""

    def serve(self, network: Network, place: Place) -> AbstractContextManager[Running]:
        """Serves a network until the block ends.

        Raises:
            NotRunError: It cannot.
        """


def http_request(path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a POST over a connection that stays open."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {content_type}"]
    lines += [f"Content-Length: {len(body)}", "Accept: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def multipart(path: str, field: str, content: bytes) -> bytes:
    """A POST of a form with one file, as browsers and curl send it."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return http_request(path, body, f"multipart/form-data; boundary={_BOUNDARY}")


def probabilities(running: Running) -> list[float]:
    """What it answers to one request.

    Raises:
        NotRunError: Nothing that can be used.
    """
    head, body = running.request.split(b"\r\n\r\n", 1)
    first, *lines = head.decode().split("\r\n")
    _, path, _ = first.split(" ")
    connection = HTTPConnection("127.0.0.1", running.port, timeout=120)
    try:
        connection.request("POST", path, body, dict(line.split(": ", 1) for line in lines))
        answer = connection.getresponse()
        content = answer.read()
    except OSError as error:
        raise NotRunError(f"the first request failed: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise NotRunError(f"the first request was answered with {answer.status}: {content[:300].decode()}")
    if running.must_hold:
        document = json.loads(content)
        if missing := [key for key in running.must_hold if not document.get(key)]:
            raise NotRunError(f"the answer has no {', '.join(missing)}: not in this build")
    return running.read(content)


def clean_environment(**values: object) -> dict[str, str]:
    """This process' environment without Onsight's settings, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONSIGHT_", "DL_SERVICE_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **{name: str(value) for name, value in values.items()}}
