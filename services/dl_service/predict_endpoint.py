"""``POST /predict``: an image in, its classes out. Plain ASGI: a framework's routing would cost more than the HTTP."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from services.dl_service.data_plane import Answer
from services.dl_service.explanations import ExplainRequest, parse_explain
from services.dl_service.prediction_log import ImageJob
from services.dl_service.requests import client_of, request_id_of
from services.dl_service.schemas import PredictResponse, problem_responses
from services.dl_service.state import ServiceState
from services.dl_service.uploads import expected_bytes, read_upload

__all__ = ["PREDICT_PATHS", "PREDICT_ROUTE", "describe_answer", "predict", "predict_operation", "render_answer"]

PREDICT_ROUTE = "/predict"
PREDICT_PATHS = frozenset({PREDICT_ROUTE, f"{PREDICT_ROUTE}/"})
_MULTI_LABEL_THRESHOLD = 0.5
_BINARY = {"type": "string", "format": "binary"}
_PROBLEMS = problem_responses(
    {
        400: "malformed_body",
        408: "receive_timeout",
        413: "body_too_large, image_too_large",
        415: "unsupported_image",
        422: "missing_file, unreadable_image, invalid_explain, unexplainable_model",
        503: "no_model, overloaded, deadline_exceeded, storage_failed",
    }
)


_PARAMETERS = (
    ("explain", {"enum": ["heatmap", "overlay", "both"]}, "which pictures of the evidence to add"),
    ("explain_class", {"maxLength": 200}, "the class whose evidence is shown; the top class unless given"),
    ("explain_format", {"enum": ["jpeg", "png"]}, "of the pictures"),
)


async def predict(service: ServiceState, scope: Scope, receive: Receive, send: Send) -> None:
    """Classify one image. The answer is on record when it is given, and names the version that gave it."""
    if scope["method"] != "POST":
        raise HTTPException(405, headers={"Allow": "POST"})
    settings = service.settings
    with service.admission.enter(expected_bytes(scope, settings.max_body_bytes)):
        service.metrics.note_load()
        service.data_plane.refuse_when_full()
        started_s = time.perf_counter()
        explain = _parse_query(scope["query_string"])
        content = await read_upload(scope, receive, settings.max_body_bytes, settings.receive_timeout_s)
        job = ImageJob(
            content=content,
            request_id=request_id_of(scope),
            client=client_of(scope),
            receive_ms=(time.perf_counter() - started_s) * 1000,
            route=PREDICT_ROUTE,
            explain=explain,
        )
        answer = await service.data_plane.predict(job)
        scope["state"]["is_logged"] = True
        body = orjson.dumps(render_answer(answer))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _parse_query(query: bytes) -> ExplainRequest | None:
    """The explanation that is asked for; what is not asked for is not looked for."""
    return parse_explain(dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))) if query else None


def render_answer(answer: Answer) -> dict[str, Any]:
    """A ``PredictResponse``."""
    metadata = answer.model.bundle.metadata
    rendered = {
        "prediction_id": answer.prediction_id,
        "model_name": metadata.model_name,
        "model_version": metadata.version,
        "prediction": dict(zip(metadata.classes, answer.probabilities, strict=True)),
        "top_class": answer.top_class,
        "confidence": answer.confidence,
        "message": describe_answer(answer),
    }
    if answer.explanation is not None:
        rendered |= vars(answer.explanation)
    return rendered


def describe_answer(answer: Answer) -> str:
    """The top class, or the classes that hold, with their probabilities."""
    metadata = answer.model.bundle.metadata
    if metadata.classifier_type == "multi-class":
        return f"{answer.top_class} ({answer.confidence:.1%})".replace("%", " %")
    pairs = zip(metadata.classes, answer.probabilities, strict=True)
    found = [f"{name} ({value:.1%})".replace("%", " %") for name, value in pairs if value >= _MULTI_LABEL_THRESHOLD]
    return ", ".join(found) or "none of the classes"


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string", **schema}, "description": description}


def predict_operation() -> dict[str, Any]:
    """The OpenAPI document's words on ``POST /predict``; its answer refers to the schema ``PredictResponse``."""
    answer = {"schema": {"$ref": f"#/components/schemas/{PredictResponse.__name__}"}}
    return {
        "tags": ["predictions"],
        "summary": "Predict",
        "description": predict.__doc__,
        "operationId": "predict",
        "parameters": [_parameter(*parameter) for parameter in _PARAMETERS],
        "requestBody": {
            "required": True,
            "description": "An image (JPEG, PNG, BMP, TIFF, WebP, GIF, PPM): as the field `file` of a form, or raw.",
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY}}
                },
                "image/*": {"schema": _BINARY},
            },
        },
        "responses": {
            "200": {"description": "Answered, and on record", "content": {"application/json": answer}},
            **{str(status): response for status, response in _PROBLEMS.items()},
        },
    }
