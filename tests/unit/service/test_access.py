"""Which scope each route asks for, and when keys are asked for at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Route

from onsight.db import Scope
from services.dl_service.access import OPEN, ROUTE_SCOPES, Guard, is_loopback, needs_keys, scope_of
from services.dl_service.app import create_app
from services.dl_service.errors import ForbiddenError, UnauthorizedError, UnknownHostError
from services.dl_service.settings import ServiceSettings


class RefuseAll:
    """Stands for keys of which none is the right one; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes | None, bytes | None, Scope]] = []

    def authorize(self, authorization: bytes | None, x_api_key: bytes | None, scope: Scope) -> str:
        self.asked.append((authorization, x_api_key, scope))
        raise UnauthorizedError("no")


def is_named(method: str, path: str) -> bool:
    names = [name for named_method, name in ROUTE_SCOPES if named_method == method]
    plain = path.rstrip("/") or "/"
    return any(path.startswith(name[:-1]) if name.endswith("*") else plain == name for name in names)


def routes_below(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """The routes of an application, also those of the routers that it includes."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        else:
            yield from routes_below(getattr(route, "original_router").routes)  # noqa: B009 - FastAPI's, without a type


def test_every_route_of_the_app_is_in_the_table(tmp_path: Path) -> None:
    app = create_app(ServiceSettings(state_dir=tmp_path))
    found = [(method, route.path) for route in routes_below(app.routes) for method in route.methods or ()]
    calls = {(method, re.sub(r"\{[^}]*\}", "x", path)) for method, path in found}

    missing = sorted(call for call in calls if not is_named("GET" if call[0] == "HEAD" else call[0], call[1]))

    assert len(calls) > 5
    assert missing == []


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/livez", OPEN),
        ("HEAD", "/readyz", OPEN),
        ("GET", "/metrics", OPEN),
        ("GET", "/v2/health/ready", OPEN),
        ("POST", "/predict", "predict"),
        ("POST", "/predict/", "predict"),
        ("POST", "/predict/batch", "predict"),
        ("GET", "/predictions/1/image", "predict"),
        ("POST", "/feedback/1", "feedback"),
        ("GET", "/feedback/1", "feedback"),
        ("GET", "/review", "feedback"),
        ("POST", "/review/1", "feedback"),
        ("GET", "/review/1", "admin"),
        ("GET", "/models", "predict"),
        ("GET", "/models/current", "predict"),
        ("POST", "/v2/models/cells/versions/1/infer", "predict"),
        ("GET", "/v2/models/cells/ready", "predict"),
        ("PUT", "/update_model/a-v1.yaml", "admin"),
        ("PUT", "/update_model/../livez", "admin"),
        ("POST", "/rollback", "admin"),
        ("POST", "/rollback/", "admin"),
        ("POST", "/livez", "admin"),
        ("DELETE", "/predictions/1", "admin"),
        ("PUT", "/predict", "admin"),
        ("GET", "//livez", "admin"),
        ("GET", "/livezz", "admin"),
        ("POST", "/predictx", "admin"),
        ("GET", "/", "admin"),
        ("BREW", "", "admin"),
    ],
)
def test_scope_of_a_request(method: str, path: str, scope: Scope | None) -> None:
    assert scope_of(method, path) == scope


@pytest.mark.parametrize(
    ("host", "allow_open", "require", "needed"),
    [
        ("127.0.0.1", False, False, False),
        ("127.0.0.1", False, True, True),
        ("0.0.0.0", False, False, True),
        ("0.0.0.0", True, False, False),
        ("0.0.0.0", True, True, True),
    ],
)
def test_needs_keys(host: str, allow_open: bool, require: bool, needed: bool) -> None:
    assert needs_keys(host, allow_open=allow_open, require_api_keys=require) is needed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "", "gpu-box", "localhost.example.org"])
def test_is_loopback_of_other_addresses(host: str) -> None:
    assert not is_loopback(host)


def test_guard_without_keys_lets_pass_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert Guard(None).check("PUT", "/update_model/x", []) == ""
    assert "stands open" in caplog.text


def test_guard_asks_the_keys_for_what_is_not_open() -> None:
    keys = RefuseAll()
    guard = Guard(keys)

    assert guard.check("GET", "/livez", []) == ""
    with pytest.raises(UnauthorizedError):
        guard.check("POST", "/predict", [(b"host", b"x"), (b"x-api-key", b"k"), (b"authorization", b"Bearer y")])

    assert keys.asked == [(b"Bearer y", b"k", "predict")]


class OneKey:
    """Stands for keys of which one is valid, with these scopes."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    def authorize(self, authorization: bytes | None, x_api_key: bytes | None, scope: Scope) -> str:
        if x_api_key != b"k":
            raise UnauthorizedError("no")
        if scope not in self.scopes:
            raise ForbiddenError("no")
        return "key"


@pytest.mark.parametrize(
    ("guard", "headers", "expected"),
    [
        pytest.param(Guard(None), [], True, id="open"),
        pytest.param(Guard(OneKey("admin")), [(b"x-api-key", b"k")], True, id="admin"),
        pytest.param(Guard(OneKey("admin")), [], False, id="no key"),
        pytest.param(Guard(OneKey("admin")), [(b"x-api-key", b"other")], False, id="wrong key"),
        pytest.param(Guard(OneKey("predict")), [(b"x-api-key", b"k")], False, id="predict"),
    ],
)
def test_guard_says_who_is_admin(guard: Guard, headers: list[tuple[bytes, bytes]], *, expected: bool) -> None:
    assert guard.is_admin(headers) is expected


LOCAL = [b"localhost", b"LocalHost:4242", b"127.0.0.1", b"127.0.0.1:4242", b"127.8.8.8:1", b"[::1]", b"[::1]:4242"]
FOREIGN = [
    b"evil.example",
    b"evil.example:4242",
    b"localhost.evil.example:4242",
    b"127.0.0.1.evil.example",
    b"evil.example:127.0.0.1",
    b"192.168.1.5:4242",
    b"localhost:4242@evil.example",
    b"",
]


@pytest.mark.parametrize("host", LOCAL)
def test_guard_that_is_open_to_this_machine_answers_to_its_names(host: bytes) -> None:
    assert Guard(None, is_local=True).check("PUT", "/update_model/x", [(b"host", host)]) == ""


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/rollback", "/predict", "/livez"])
def test_guard_that_is_open_to_this_machine_refuses_other_names(host: bytes, path: str) -> None:
    headers = [(b"host", host), (b"origin", b"http://" + host)]

    with pytest.raises(UnknownHostError, match="this machine alone"):
        Guard(None, is_local=True).check("POST", path, headers)
    assert Guard(None).check("POST", path, headers) == ""
    assert Guard(OneKey("admin", "predict"), is_local=True).check("POST", path, [(b"x-api-key", b"k"), *headers])


@pytest.mark.parametrize(
    ("method", "path", "origin", "is_refused"),
    [
        ("POST", "/rollback", b"https://elsewhere.example", True),
        ("POST", "/rollback", b"null", True),
        ("POST", "/rollback", b"http://127.0.0.1:4242", False),
        ("POST", "/rollback", None, False),
        ("POST", "/predict", b"https://elsewhere.example", False),
    ],
)
def test_open_guard_refuses_admin_requests_of_other_web_sites(
    method: str, path: str, origin: bytes | None, is_refused: bool
) -> None:
    headers = [(b"host", b"127.0.0.1:4242")] + ([(b"origin", origin)] if origin else [])
    guard = Guard(None)

    if is_refused:
        with pytest.raises(ForbiddenError, match="another web site"):
            guard.check(method, path, headers)
    else:
        assert guard.check(method, path, headers) == ""
