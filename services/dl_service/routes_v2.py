"""The Open Inference Protocol v2 over HTTP, as the clients of KServe and Triton speak it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

import onsight
from onsight.errors import ImageError
from services.dl_service.data_plane import Answer
from services.dl_service.errors import UnknownModelError, UnsupportedEncodingError
from services.dl_service.models import ServedModel
from services.dl_service.open_inference import (
    ENCODED_INPUT,
    OUTPUTS,
    RAW_INPUT,
    InferRequest,
    ModelInput,
    parse_infer_request,
    render_infer_response,
)
from services.dl_service.prediction_log import ImageJob
from services.dl_service.requests import client_of, request_id_of
from services.dl_service.schemas import (
    InferenceError,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorMetadata,
)
from services.dl_service.state import Service, ServiceState
from services.dl_service.uploads import expected_bytes, receive_body

__all__ = ["router"]

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

_JSON_LENGTH = "Inference-Header-Content-Length"


def _errors(codes_by_status: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": codes, "model": InferenceError} for status, codes in codes_by_status.items()}


async def _named(service: Service, name: str) -> ServedModel:
    model = service.models.current
    metadata = model.bundle.metadata
    if name != metadata.model_name:
        raise UnknownModelError(f"the service has no model {name[:100]!r}", f"it serves {metadata.model_name}")
    return model


async def _versioned(model: Named, version: str) -> ServedModel:
    metadata = model.bundle.metadata
    if version != str(metadata.version):
        raise UnknownModelError(
            f"version {version[:100]!r} of {metadata.model_name} is not served", f"version {metadata.version} is"
        )
    return model


Named = Annotated[ServedModel, Depends(_named)]
Versioned = Annotated[ServedModel, Depends(_versioned)]

_UNKNOWN = _errors({404: "unknown_model", 503: "no_model"})
_INFER: dict[str, Any] = {
    "responses": {
        200: {"content": {"application/json": {}, "application/octet-stream": {}}},
        **_errors(
            {
                400: "malformed_body",
                404: "unknown_model",
                408: "receive_timeout",
                413: "body_too_large, image_too_large",
                415: "unsupported_image, unsupported_encoding",
                422: "invalid_inference_request, unreadable_image",
                503: "no_model, overloaded, deadline_exceeded, storage_failed",
            }
        ),
    },
    "response_class": Response,
    "openapi_extra": {
        "parameters": [{"name": _JSON_LENGTH, "in": "header", "schema": {"type": "integer", "minimum": 0}}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object", "required": ["inputs"]}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        },
    },
}


@router.get("")
async def server_metadata() -> ServerMetadata:
    """The service, and the extensions of the protocol that it knows."""
    return ServerMetadata(name="onsight", version=onsight.__version__, extensions=["binary_tensor_data"])


@router.get("/health/live")
async def server_live() -> ServerLive:
    """Whether the process runs."""
    return ServerLive()


@router.get("/health/ready", responses=_errors({503: "no_model"}))
async def server_ready(service: Service) -> ServerReady:
    """Whether a model is served."""
    _ = service.models.current
    return ServerReady()


@router.get("/models/{name}", responses=_UNKNOWN)
async def model_metadata(model: Named) -> ModelMetadata:
    """What the model takes and gives."""
    return _describe(model)


@router.get("/models/{name}/versions/{version}", responses=_UNKNOWN)
async def version_metadata(model: Versioned) -> ModelMetadata:
    """What the model takes and gives, if this version is served."""
    return _describe(model)


@router.get("/models/{name}/ready", responses=_UNKNOWN)
async def model_ready(model: Named) -> ModelReady:
    """Whether the model is served."""
    return ModelReady(name=model.bundle.metadata.model_name)


@router.get("/models/{name}/versions/{version}/ready", responses=_UNKNOWN)
async def version_ready(model: Versioned) -> ModelReady:
    """Whether this version of the model is served."""
    return ModelReady(name=model.bundle.metadata.model_name)


@router.post("/models/{name}/infer", **_INFER)
async def infer(request: Request, service: Service, model: Named) -> Response:
    """Classify images, as pixels or as files. All of them are answered, or none."""
    return await _infer(request, service, model)


@router.post("/models/{name}/versions/{version}/infer", **_INFER)
async def infer_version(request: Request, service: Service, model: Versioned) -> Response:
    """Classify images with this version of the model, if it is served."""
    return await _infer(request, service, model)


def _describe(model: ServedModel) -> ModelMetadata:
    metadata = model.bundle.metadata
    image = [-1, metadata.input_height, metadata.input_width, 3]
    # The activation map's sides follow from the network; the bundle does not say them.
    shapes = ([len(metadata.classes)], [metadata.uae_dims], [len(metadata.classes)], [-1, -1])
    return ModelMetadata(
        name=metadata.model_name,
        versions=[str(metadata.version)],
        platform="onnxruntime_onnx",
        inputs=[
            TensorMetadata(name=RAW_INPUT, datatype="UINT8", shape=image),
            TensorMetadata(name=ENCODED_INPUT, datatype="BYTES", shape=[-1]),
        ],
        outputs=[
            TensorMetadata(name=name, datatype="FP32", shape=[-1, *shape])
            for name, shape in zip(OUTPUTS, shapes, strict=True)
        ],
        parameters={"classes": list(metadata.classes), "classifier_type": metadata.classifier_type},
    )


async def _infer(request: Request, service: ServiceState, model: ServedModel) -> Response:
    settings, metadata = service.settings, model.bundle.metadata
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedEncodingError(
            f"bodies with Content-Encoding {encoding[:100]} are not read", "send it as it is: images are compressed"
        )
    with service.admission.enter(expected_bytes(request.scope, settings.max_batch_body_bytes)):
        service.data_plane.refuse_when_full()
        started_s = time.perf_counter()
        body = await receive_body(
            request.scope, request.receive, settings.max_batch_body_bytes, settings.receive_timeout_s
        )
        takes = ModelInput(metadata.input_width, metadata.input_height, settings.max_batch_files)
        asked = await asyncio.get_running_loop().run_in_executor(
            service.parse_threads, parse_infer_request, body, request.headers.get(_JSON_LENGTH), takes
        )
        receive_ms = (time.perf_counter() - started_s) * 1000 / len(asked.contents)
        answers = await _answer_all(
            service, model, [_job(request, model, asked, c, receive_ms) for c in asked.contents]
        )
    tensors = {
        output.name: np.stack([answer.outputs[output.name] for answer in answers if answer.outputs is not None])
        for output in asked.outputs
    }
    ids = [answer.prediction_id for answer in answers]
    content, json_length = render_infer_response(asked, metadata.model_name, metadata.version, ids, tensors)
    if json_length is None:
        return Response(content, media_type="application/json")
    return Response(content, headers={_JSON_LENGTH: str(json_length)}, media_type="application/octet-stream")


def _job(request: Request, model: ServedModel, asked: InferRequest, content: bytes, receive_ms: float) -> ImageJob:
    metadata, pixels = model.bundle.metadata, None
    if asked.is_raw:
        pixels = np.frombuffer(content, np.uint8).reshape(metadata.input_height, metadata.input_width, 3)
    return ImageJob(
        content,
        request_id_of(request.scope),
        client_of(request.scope),
        receive_ms,
        pixels=pixels,
        outputs=tuple(output.name for output in asked.outputs),
    )


async def _answer_all(service: ServiceState, model: ServedModel, jobs: Sequence[ImageJob]) -> list[Answer]:
    """One answer for each; once one fails, those that nobody has begun are given up."""
    places = asyncio.Semaphore(service.settings.batch_limits.images_at_once)

    async def answer(index: int, job: ImageJob) -> Answer:
        try:
            async with places:
                return await service.data_plane.predict(job, model)
        except ImageError as error:
            raise type(error)(f"image {index}: {error.message}", error.hint, **error.context) from error

    tasks = [asyncio.ensure_future(answer(index, job)) for index, job in enumerate(jobs)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
