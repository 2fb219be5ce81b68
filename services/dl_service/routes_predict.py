"""``POST /predict``: an image in, its classes out."""

from __future__ import annotations

import json
import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.dl_service.data_plane import Answer, ImageJob
from services.dl_service.middleware import client_of
from services.dl_service.schemas import PredictResponse, problem_responses
from services.dl_service.state import Service
from services.dl_service.uploads import read_upload

__all__ = ["describe_answer", "router"]

router = APIRouter(tags=["predictions"])

_MULTI_LABEL_THRESHOLD = 0.5
_BINARY = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An image (JPEG, PNG, BMP, TIFF, WebP, GIF, PPM): as the field `file` of a form, or raw.",
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY}}
            },
            "image/*": {"schema": _BINARY},
        },
    }
}
_PROBLEMS = problem_responses(
    {
        400: "malformed_body",
        408: "receive_timeout",
        413: "body_too_large, image_too_large",
        415: "unsupported_image",
        422: "missing_file, unreadable_image",
        503: "no_model, overloaded, deadline_exceeded, storage_failed",
    }
)


@router.post("/predict", response_model=PredictResponse, responses=_PROBLEMS, openapi_extra=_BODY)
@router.post("/predict/", include_in_schema=False)
async def predict(request: Request, service: Service) -> Response:
    """Classify one image. The answer is on record when it is given, and names the version that gave it."""
    with service.admission.enter():
        service.metrics.set_load(in_flight=service.admission.in_flight, queued=service.data_plane.queued)
        service.data_plane.refuse_when_full()
        started_s = time.perf_counter()
        settings = service.settings
        content = await read_upload(request, settings.max_body_bytes, settings.receive_timeout_s)
        job = ImageJob(
            content=content,
            request_id=request.state.request_id,
            client=client_of(request.scope),
            receive_ms=(time.perf_counter() - started_s) * 1000,
        )
        answer = await service.data_plane.predict(job)
        return Response(_render(answer), media_type="application/json")


def _render(answer: Answer) -> str:
    metadata = answer.model.bundle.metadata
    return json.dumps(
        {
            "prediction_id": answer.prediction_id,
            "model_name": metadata.model_name,
            "model_version": metadata.version,
            "prediction": dict(zip(metadata.classes, answer.probabilities, strict=True)),
            "top_class": answer.top_class,
            "confidence": answer.confidence,
            "message": describe_answer(answer),
        }
    )


def describe_answer(answer: Answer) -> str:
    """The top class, or the classes that hold, with their probabilities."""
    metadata = answer.model.bundle.metadata
    if metadata.classifier_type == "multi-class":
        return f"{answer.top_class} ({answer.confidence:.1%})".replace("%", " %")
    pairs = zip(metadata.classes, answer.probabilities, strict=True)
    found = [f"{name} ({value:.1%})".replace("%", " %") for name, value in pairs if value >= _MULTI_LABEL_THRESHOLD]
    return ", ".join(found) or "none of the classes"
