"""Around every request: its id, its deadline on load, its log line, its metrics, its row in ``api_log``."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onsight.db import ApiCallRecord, uuid7
from onsight.errors import StorageError
from services.dl_service.logs import current_request_id
from services.dl_service.problems import answer_problem
from services.dl_service.state import ServiceState

__all__ = ["PROBE_ROUTES", "RequestObserver"]

_LOG = logging.getLogger("services.dl_service.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Asked every few seconds by machines: counted, not logged one by one.
PROBE_ROUTES = frozenset({"/livez", "/readyz", "/health_check", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLIENT_CLOSED_REQUEST = 499


@dataclass
class _Call:
    scope: Scope
    request_id: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_s: float = field(default_factory=time.perf_counter)
    status: int = 0

    @property
    def route(self) -> str:
        path = getattr(self.scope.get("route"), "path", "")
        return path.replace(":path}", "}").rstrip("/") or "unmatched"

    @property
    def method(self) -> str:
        return self.scope["method"] if self.scope["method"] in _METHODS else "OTHER"

    @property
    def client(self) -> str:
        return client_of(self.scope)


class RequestObserver:
    """ASGI middleware. An exception that no handler took ends here, so that its answer is observed like any other."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        call = _Call(scope, given if _REQUEST_ID.fullmatch(given) else uuid7().hex)
        scope.setdefault("state", {})["request_id"] = call.request_id
        token = current_request_id.set(call.request_id)
        try:
            await self._serve(call, receive, send)
        finally:
            current_request_id.reset(token)

    async def _serve(self, call: _Call, receive: Receive, send: Send) -> None:
        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = call.request_id
                call.status = message["status"]
                _observe(call)
            await send(message)

        try:
            await self._app(call.scope, receive, observed_send)
        except ClientDisconnect:
            call.status = _CLIENT_CLOSED_REQUEST
            call.scope["state"]["code"] = "client_closed_request"
            _observe(call)
        except Exception as error:
            if call.status:
                raise
            await answer_problem(Request(call.scope), error)(call.scope, receive, observed_send)


def client_of(scope: Scope) -> str:
    """The address that the request came from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _observe(call: _Call) -> None:
    """Before the answer leaves: a row that is written here is there when the client knows of the answer."""
    seconds = time.perf_counter() - call.started_s
    code = str(call.scope["state"].get("code", "ok"))
    state: ServiceState = call.scope["app"].state.service
    state.metrics.count_request(call.route, call.method, call.status, code, seconds)
    if call.route in PROBE_ROUTES:
        return
    record = ApiCallRecord(
        call_id=str(uuid7()),
        request_id=call.request_id,
        route=call.route,
        method=call.method,
        status=call.status,
        code=code,
        latency_ms=round(seconds * 1000, 3),
        client=call.client,
        at=call.at,
    )
    try:
        state.outbox.append(record)
    except StorageError as error:
        _LOG.error("the call could not be logged: %s", error.message)
    fields = {"route": call.route, "method": call.method, "status": call.status, "code": code}
    _LOG.info("request", extra={"fields": {**fields, "latency_ms": record.latency_ms, "client": call.client}})
