"""Around every request: its id, its log line, its metrics, its row in ``api_log``."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from onsight.db import GOLDEN_REQUEST_PREFIX, ApiCallRecord, uuid7
from onsight.errors import StorageError
from services.dl_service.logs import current_request_id
from services.dl_service.predict_endpoint import PREDICT_PATHS, PREDICT_ROUTE, predict
from services.dl_service.problems import answer_problem
from services.dl_service.requests import client_of, set_key_name, set_request_id
from services.dl_service.state import ServiceState

__all__ = ["PROBE_ROUTES", "RequestObserver"]

_LOG = logging.getLogger("services.dl_service.access")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_RESERVED_PREFIX = GOLDEN_REQUEST_PREFIX.encode()
# Asked every few seconds by machines: counted, not logged one by one.
PROBE_ROUTES = frozenset(
    {"/livez", "/readyz", "/health_check", "/metrics", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"}
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLIENT_CLOSED_REQUEST = 499


@dataclass
class _Call:
    scope: Scope
    request_id: str
    started_s: float = field(default_factory=time.perf_counter)
    status: int = 0
    latency_ms: float = 0.0

    @property
    def is_predict(self) -> bool:
        return self.scope["path"] in PREDICT_PATHS

    @property
    def route(self) -> str:
        if self.is_predict:
            return PREDICT_ROUTE
        path = getattr(self.scope.get("route"), "path", "")
        return path.replace(":path}", "}").rstrip("/") or "unmatched"

    @property
    def method(self) -> str:
        return self.scope["method"] if self.scope["method"] in _METHODS else "OTHER"

    @property
    def code(self) -> str:
        return str(self.scope["state"].get("code", "ok"))


class RequestObserver:
    """ASGI middleware. An exception that no handler took ends here, so that its answer is observed like any other."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = _Call(scope, _request_id(scope))
        set_request_id(scope, call.request_id)
        token = current_request_id.set(call.request_id)
        try:
            await self._serve(call, receive, send)
        finally:
            _tell(call)
            current_request_id.reset(token)

    async def _serve(self, call: _Call, receive: Receive, send: Send) -> None:
        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", call.request_id.encode())]
                call.status = message["status"]
                _observe(call)
            await send(message)

        service: ServiceState = call.scope["app"].state.service
        try:
            set_key_name(
                call.scope, service.guard.check(call.scope["method"], call.scope["path"], call.scope["headers"])
            )
            if call.is_predict:
                await predict(service, call.scope, receive, observed_send)
            else:
                await self._app(call.scope, receive, observed_send)
        except ClientDisconnect:
            call.status = _CLIENT_CLOSED_REQUEST
            call.scope["state"]["code"] = "client_closed_request"
            _observe(call)
        except Exception as error:
            if call.status:
                raise
            await answer_problem(Request(call.scope), error)(call.scope, receive, observed_send)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value) and _may_have(scope, value):
            return str(value.decode())
    return uuid7().replace("-", "")


def _may_have(scope: Scope, request_id: bytes) -> bool:
    """Whether the caller may choose this id: what is marked as golden counts neither as traffic nor for drift."""
    if not request_id.lower().startswith(_RESERVED_PREFIX):
        return True
    service: ServiceState = scope["app"].state.service
    return service.guard.is_admin(scope["headers"])


def _observe(call: _Call) -> None:
    """Before the answer leaves: a row that is written here is there when the client knows of the answer."""
    seconds = time.perf_counter() - call.started_s
    call.latency_ms = round(seconds * 1000, 3)
    route = call.route
    state: ServiceState = call.scope["app"].state.service
    state.metrics.count_request(route, call.method, call.status, call.code, seconds)
    if route not in PROBE_ROUTES and not call.scope["state"].get("is_logged", False):
        _log_call(call)


def _tell(call: _Call) -> None:
    """The log's line: nobody has to wait for it."""
    route = call.route
    if call.status and route not in PROBE_ROUTES:
        fields = {"route": route, "method": call.method, "status": call.status, "code": call.code}
        fields |= {"latency_ms": call.latency_ms, "client": client_of(call.scope)}
        _LOG.info("request", extra={"fields": fields})


def _log_call(call: _Call) -> None:
    record = ApiCallRecord(
        call_id=uuid7(),
        request_id=call.request_id,
        route=call.route,
        method=call.method,
        status=call.status,
        code=call.code,
        latency_ms=call.latency_ms,
        client=client_of(call.scope),
        at=datetime.now(UTC),
    )
    try:
        call.scope["app"].state.service.outbox.append(record)
    except StorageError as error:
        _LOG.error("the call could not be logged: %s", error.message)
