"""``GET /predictions/{id}``: what was answered, the image it was asked about, and the evidence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from onsight.db import PredictionRecord
from services.dl_service.errors import OverloadedError
from services.dl_service.explanations import ExplainRequest
from services.dl_service.lookups import PredictionLookup
from services.dl_service.schemas import problem_responses

__all__ = ["PredictionResponse", "router"]

router = APIRouter(prefix="/predictions", tags=["predictions"])

# By Pillow's names of the formats that are read; a multi-picture JPEG calls itself MPO.
_CONTENT_TYPES = {
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "PPM": "image/x-portable-anymap",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
}
_LONGEST_WAIT_S = 5.0
_UNKNOWN_TYPE = "application/octet-stream"
_NOT_THERE = "unknown_prediction, image_not_kept"
_PICTURE = {"image/*": {"schema": {"type": "string", "format": "binary"}}}


class PredictionResponse(BaseModel):
    """An answer that was given, as it was logged."""

    model_config = ConfigDict(protected_namespaces=(), frozen=True)

    prediction_id: str
    request_id: str
    model_name: str
    model_version: int
    created_at: datetime
    prediction: dict[str, float] | None = Field(description="by class; null: the version is no longer in storage")
    probabilities: list[float] = Field(description="in the order of the version's classes")
    top_class: str
    confidence: float
    timings_ms: dict[str, float] = Field(description="milliseconds by stage")
    image_sha256: str
    image_bytes: int
    image_width: int
    image_height: int
    image_format: str
    client: str


class _State(Protocol):
    """What these routes need of the service's state."""

    @property
    def lookup(self) -> PredictionLookup: ...


def _lookup_of(request: Request) -> PredictionLookup:
    state: _State = request.app.state.service
    return state.lookup


Lookup = Annotated[PredictionLookup, Depends(_lookup_of)]
PredictionId = Annotated[
    str, Path(description="as /predict gave it", examples=["019a8f2e-6c1b-7a40-8d2f-3b9e6f1c2d47"])
]


@router.get(
    "/{prediction_id}",
    responses=problem_responses(
        {404: "unknown_prediction", 422: "invalid_prediction_id", 503: "dependency_down"},
    ),
)
async def prediction(lookup: Lookup, prediction_id: PredictionId) -> PredictionResponse:
    """What was answered. A row takes a moment to reach the database; a 404 says when to ask again."""

    def look_up() -> PredictionResponse:
        record = lookup.find(prediction_id)
        values = {name: getattr(record, name) for name in PredictionResponse.model_fields if name != "prediction"}
        return PredictionResponse(prediction=lookup.name_classes(record), **values)

    return await asyncio.to_thread(look_up)


@router.get(
    "/{prediction_id}/image",
    response_class=Response,
    responses={
        200: {"content": _PICTURE},
        **problem_responses({404: _NOT_THERE, 422: "invalid_prediction_id", 503: "dependency_down"}),
    },
)
async def image(lookup: Lookup, prediction_id: PredictionId) -> Response:
    """The image as it was uploaded, byte for byte, while it is kept."""

    def look_up() -> tuple[PredictionRecord, bytes]:
        record = lookup.find(prediction_id)
        return record, lookup.read_image(record)

    record, content = await asyncio.to_thread(look_up)
    suffix = record.image_format.lower() if record.image_format in _CONTENT_TYPES else "bin"
    kind = _CONTENT_TYPES.get(record.image_format, _UNKNOWN_TYPE)
    return _file(content, kind, f"{record.prediction_id}.{suffix}")


@router.get(
    "/{prediction_id}/heatmap",
    response_class=Response,
    responses={
        200: {"content": _PICTURE},
        **problem_responses(
            {
                404: f"{_NOT_THERE}, unknown_model",
                422: "invalid_prediction_id, invalid_explain, unexplainable_model, bundle_refused",
                503: "dependency_down, storage_failed, overloaded",
            }
        ),
    },
)
async def heatmap(
    lookup: Lookup,
    prediction_id: PredictionId,
    explain_class: Annotated[str | None, Query(max_length=200, description="the top class unless given")] = None,
    kind: Annotated[Literal["heatmap", "overlay"], Query(description="alone, or laid over the image")] = "heatmap",
    picture_format: Annotated[Literal["jpeg", "png"], Query(alias="format")] = "jpeg",
) -> Response:
    """Where the version that answered found evidence for a class, drawn anew from the image that is kept."""
    wanted = ExplainRequest(kind, explain_class, picture_format)

    def look_up() -> tuple[PredictionRecord, bytes]:
        record = lookup.find(prediction_id)
        return record, lookup.draw(record, wanted)

    async with _place(lookup):
        record, content = await asyncio.to_thread(look_up)
    return _file(content, f"image/{picture_format}", f"{record.prediction_id}-{kind}.{picture_format}")


@asynccontextmanager
async def _place(lookup: PredictionLookup) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_LONGEST_WAIT_S):
            await lookup.slots.acquire()
    except TimeoutError as error:
        raise OverloadedError("other heat maps are being drawn", "try again in a moment") from error
    try:
        yield
    finally:
        lookup.slots.release()


def _file(content: bytes, media_type: str, name: str) -> Response:
    # What was uploaded is shown, and never run: browsers must not guess another type or follow what is inside.
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": f'inline; filename="{name}"',
        "Cache-Control": "private, max-age=300",
    }
    return Response(content, headers=headers, media_type=media_type)
