"""What a request's ASGI scope says of it."""

from __future__ import annotations

from starlette.types import Scope

__all__ = ["client_of", "request_id_of", "set_key_name", "set_request_id"]


def client_of(scope: Scope) -> str:
    """Who asks: the name of the API key, or the address that the request came from where none is needed."""
    client = scope.get("client")
    return scope["state"].get("key_name") or (str(client[0]) if client else "")


def set_key_name(scope: Scope, name: str) -> None:
    """Says whose API key came with the request; empty: none was asked for."""
    scope["state"]["key_name"] = name


def request_id_of(scope: Scope) -> str:
    """The request's id: the caller's, or one made here."""
    return str(scope["state"]["request_id"])


def set_request_id(scope: Scope, request_id: str) -> None:
    """Gives the request its id."""
    scope.setdefault("state", {})["request_id"] = request_id
