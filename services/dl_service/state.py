"""What the running service holds, built by the lifespan and handed to every handler."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from onsight.db import Database, Outbox
from onsight.storage import ArtifactStore
from services.dl_service.access import Guard
from services.dl_service.data_plane import DataPlane
from services.dl_service.errors import OverloadedError
from services.dl_service.follower import Follower
from services.dl_service.health import HealthCheck
from services.dl_service.lookups import PredictionLookup
from services.dl_service.metrics import Metrics
from services.dl_service.models import ModelControl
from services.dl_service.settings import ServiceSettings

__all__ = ["Admission", "Service", "ServiceState"]


class Admission:
    """Bounds the requests that are being received or answered at once. Used on the event loop alone.

    Args:
        limit: Requests.
        max_bytes: Of their bodies together.
    """

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self.in_flight = 0

    @contextmanager
    def enter(self, expected_bytes: int) -> Iterator[None]:
        """Holds a place for the length of the block.

        Args:
            expected_bytes: That the body may have.

        Raises:
            OverloadedError: There is none.
        """
        if self.in_flight >= self._limit:
            raise OverloadedError(f"{self.in_flight} requests are in flight already", "try again in a moment")
        if self.in_flight and self._held_bytes + expected_bytes > self._max_bytes:
            raise OverloadedError(f"{self._held_bytes} bytes are in flight already", "try again in a moment")
        self.in_flight += 1
        self._held_bytes += expected_bytes
        try:
            yield
        finally:
            self.in_flight -= 1
            self._held_bytes -= expected_bytes


@dataclass(frozen=True)
class ServiceState:
    """The parts of a running service.

    Attributes:
        health: Whether the model answers.
        parse_threads: Of their own, so that no request for an inference waits behind what waits for a database.
    """

    settings: ServiceSettings
    guard: Guard
    metrics: Metrics
    store: ArtifactStore
    database: Database
    outbox: Outbox
    models: ModelControl
    follower: Follower
    data_plane: DataPlane
    lookup: PredictionLookup
    health: HealthCheck
    parse_threads: ThreadPoolExecutor
    admission: Admission
    place: str


def _state_of(request: Request) -> ServiceState:
    state: ServiceState = request.app.state.service
    return state


Service = Annotated[ServiceState, Depends(_state_of)]
