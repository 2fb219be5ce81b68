"""``POST /predict/batch``: many images in one form, each answered or refused for itself."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Request

from onsight.errors import OnsightError
from services.dl_service.predict_endpoint import render_answer
from services.dl_service.prediction_log import ImageJob
from services.dl_service.problems import describe_problem
from services.dl_service.requests import client_of, request_id_of
from services.dl_service.schemas import BatchItem, BatchResponse, PredictResponse, problem_responses
from services.dl_service.state import Service, ServiceState
from services.dl_service.uploads import UploadedFile, expected_bytes, read_uploads

__all__ = ["router"]

router = APIRouter(tags=["predictions"])

_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {"file": _FILES}}}
        },
    }
}
_PROBLEMS = problem_responses(
    {400: "malformed_body", 408: "receive_timeout", 413: "body_too_large", 422: "missing_file", 503: "overloaded"}
)


@router.post("/predict/batch", responses=_PROBLEMS, openapi_extra=_BODY)
@router.post("/predict/batch/", include_in_schema=False)
async def predict_batch(request: Request, service: Service) -> BatchResponse:
    """Classify several images: fields `file` of one form. One that cannot be answered spoils no other."""
    settings = service.settings
    with service.admission.enter(expected_bytes(request.scope, settings.max_batch_body_bytes)):
        started_s = time.perf_counter()
        files = await read_uploads(
            request.scope,
            request.receive,
            settings.max_batch_body_bytes,
            settings.receive_timeout_s,
            settings.max_batch_files,
        )
        receive_ms = (time.perf_counter() - started_s) * 1000 / len(files)
        places = asyncio.Semaphore(settings.batch_limits.images_at_once)
        items = await asyncio.gather(*(_answer(request, service, file, receive_ms, places) for file in files))
        return BatchResponse(items=items, n_failed=sum(item.problem is not None for item in items))


async def _answer(
    request: Request, service: ServiceState, file: UploadedFile, receive_ms: float, places: asyncio.Semaphore
) -> BatchItem:
    job = ImageJob(file.content, request_id_of(request.scope), client_of(request.scope), receive_ms)
    try:
        async with places:
            answer = await service.data_plane.predict(job)
    except OnsightError as error:
        return BatchItem(file_name=file.name, prediction=None, problem=describe_problem(request, error))
    prediction = PredictResponse.model_validate(render_answer(answer))
    return BatchItem(file_name=file.name, prediction=prediction, problem=None)
