"""Who may call what: the scope that each route asks for, when keys are needed at all, and the check of a request."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable
from typing import Final, Protocol

from onsight.db import Scope
from services.dl_service.errors import ForbiddenError, UnauthorizedError, UnknownHostError

__all__ = ["OPEN", "ROUTE_SCOPES", "Guard", "KeyCheck", "is_loopback", "needs_keys", "scope_of"]

_LOG = logging.getLogger(__name__)

OPEN: Final = None
# A path that ends in * stands for all below it. What is not named here is for admin keys alone.
ROUTE_SCOPES: dict[tuple[str, str], Scope | None] = {
    ("GET", "/livez"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/health_check"): OPEN,
    ("GET", "/metrics"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/v2/health/live"): OPEN,
    ("GET", "/v2/health/ready"): OPEN,
    ("POST", "/predict"): "predict",
    ("POST", "/predict/*"): "predict",
    ("GET", "/predictions"): "predict",
    ("GET", "/predictions/*"): "predict",
    ("GET", "/models"): "predict",
    ("GET", "/models/*"): "predict",
    ("GET", "/v2"): "predict",
    ("GET", "/v2/*"): "predict",
    ("POST", "/v2/models/*"): "predict",
    ("GET", "/feedback/*"): "feedback",
    ("POST", "/feedback/*"): "feedback",
    ("GET", "/review"): "feedback",
    ("POST", "/review/*"): "feedback",
    ("PUT", "/update_model/*"): "admin",
    ("POST", "/rollback"): "admin",
}

_READ_HEADERS = (b"authorization", b"x-api-key", b"origin", b"host")
# The names that this machine has for itself, with any port.
_LOCAL_HOST = re.compile(rb"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_EXACT = {rule: scope for rule, scope in ROUTE_SCOPES.items() if not rule[1].endswith("*")}
_BELOW = sorted(
    ((method, path[:-1], scope) for (method, path), scope in ROUTE_SCOPES.items() if path.endswith("*")),
    key=lambda rule: -len(rule[1]),
)


class KeyCheck(Protocol):
    """Tells whose key came with a request."""

    def authorize(self, authorization: bytes | None, x_api_key: bytes | None, scope: Scope) -> str:
        """The key's name.

        Raises:
            UnauthorizedError: No valid key.
            ForbiddenError: The key may not do this.
        """
        ...


class Guard:
    """Checks requests; without keys it lets everyone pass.

    Args:
        keys: None where the service stands open.
        is_local: Whether it stands open for this machine alone. Requests must then call it by a name of this machine: a
            web site may give its own name this machine's address, and its pages would pass for the service's own.
    """

    def __init__(self, keys: KeyCheck | None, *, is_local: bool = False) -> None:
        self._keys = keys
        self._is_local = is_local and keys is None
        if keys is None:
            _LOG.warning("the service stands open: it asks nobody for an API key")

    def check(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The name of the key that the request came with; empty where none is asked for.

        Args:
            path: The decoded path that the router sees.
            headers: As in an ASGI scope, names in lower case.

        Raises:
            UnauthorizedError: No valid key.
            ForbiddenError: The key may not do this.
            UnknownHostError: The service stands open for this machine, and was called by another machine's name.
        """
        given = {name: value for name, value in headers if name in _READ_HEADERS}
        if self._is_local:
            _refuse_other_names(given.get(b"host"))
        scope = scope_of(method, path)
        if scope is OPEN:
            return ""
        if self._keys is None:
            if scope == "admin":
                _refuse_other_sites(given.get(b"origin"), given.get(b"host"))
            return ""
        return self._keys.authorize(given.get(b"authorization"), given.get(b"x-api-key"), scope)

    def is_admin(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request may do everything: by its key, or because the service stands open."""
        if self._keys is None:
            return True
        given = dict(headers)
        try:
            self._keys.authorize(given.get(b"authorization"), given.get(b"x-api-key"), "admin")
        except (UnauthorizedError, ForbiddenError):
            return False
        return True


def _refuse_other_names(host: bytes | None) -> None:
    """Every browser sends the name that the page's address has; who sends none is no browser."""
    if host is not None and not _LOCAL_HOST.fullmatch(host):
        raise UnknownHostError(
            f"the service stands open for this machine alone, and is not called {host[:100].decode('latin-1')!r}",
            "call it localhost or 127.0.0.1; behind a proxy, or under another name, let it ask for API keys "
            "(ONSIGHT_REQUIRE_API_KEYS=true)",
        )


def _refuse_other_sites(origin: bytes | None, host: bytes | None) -> None:
    """A page of another web site, open in a browser on this machine, may send requests here too."""
    if origin is not None and origin.partition(b"://")[2] != host:
        raise ForbiddenError(
            "a page of another web site asks for this", "ask for it from this address, or by a command"
        )


def scope_of(method: str, path: str) -> Scope | None:
    """The scope that a request needs, or OPEN; ``admin`` for what the table does not name."""
    method = "GET" if method == "HEAD" else method
    plain = path[:-1] if path.endswith("/") and len(path) > 1 else path
    if (method, plain) in _EXACT:
        return _EXACT[method, plain]
    for rule_method, prefix, scope in _BELOW:
        if method == rule_method and path.startswith(prefix):
            return scope
    return "admin"


def needs_keys(host: str, *, allow_open: bool, require_api_keys: bool) -> bool:
    """Whether a service at this address asks for keys.

    Args:
        allow_open: ``ONSIGHT_ALLOW_OPEN``: stand open where others can reach the address too.
        require_api_keys: ``ONSIGHT_REQUIRE_API_KEYS``: ask for keys on loopback too; wins over ``allow_open``.
    """
    return require_api_keys or not (allow_open or is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
