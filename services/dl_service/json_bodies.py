"""Small JSON bodies of the routes that take people's opinions."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic import BaseModel

from services.dl_service.errors import MalformedBodyError
from services.dl_service.state import ServiceState
from services.dl_service.uploads import expected_bytes, receive_body

__all__ = ["describe_json_body", "receive_json"]

_MAX_BODY_BYTES = 64 * 1024
_JSON = "application/json"


def describe_json_body(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of a body that ``receive_json`` takes."""
    return {"requestBody": {"required": True, "content": {_JSON: {"schema": model.model_json_schema()}}}}


async def receive_json(request: Request, service: ServiceState) -> bytes:
    """The body, not yet parsed, of at most 64 KiB.

    Raises:
        MalformedBodyError: It is not said to be JSON.
        BodyTooLargeError: It is larger.
        ReceiveTimeoutError: The client takes too long.
        OverloadedError: Too much is being received already.
    """
    # Pages of other web sites can send forms and text here unasked, JSON only after they were allowed to.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        raise MalformedBodyError("the body is not said to be JSON", f"send it with Content-Type: {_JSON}")
    with service.admission.enter(expected_bytes(request.scope, _MAX_BODY_BYTES)):
        return await receive_body(request.scope, request.receive, _MAX_BODY_BYTES, service.settings.receive_timeout_s)
