"""Is it alive, is it ready, does it answer; and what Prometheus scrapes."""

from __future__ import annotations

import os

from fastapi import APIRouter
from starlette.responses import Response

import onsight
from services.dl_service.models import ServedModel
from services.dl_service.schemas import LivenessResponse, ReadinessResponse, problem_responses
from services.dl_service.state import Service

__all__ = ["router"]

router = APIRouter(tags=["probes"])

_NO_MODEL = problem_responses({503: "no_model"})


@router.get("/livez")
async def livez(service: Service) -> LivenessResponse:
    """Whether the process runs and its event loop turns. Restart it when this fails."""
    return LivenessResponse(version=onsight.__version__, pid=os.getpid(), place=service.place)


@router.get("/readyz", responses=_NO_MODEL)
async def readyz(service: Service) -> ReadinessResponse:
    """Whether a model is loaded. Send no traffic while this fails."""
    return _ready("ready", service.models.current)


@router.get("/health_check", responses=_NO_MODEL)
async def health_check(service: Service) -> ReadinessResponse:
    """Whether the model answers one real inference, on an image of its bundle; found out anew about once a second."""
    return _ready("healthy", await service.health.outcome())


@router.get("/metrics", response_class=Response)
async def metrics(service: Service) -> Response:
    """Metrics in Prometheus' text format."""
    service.metrics.note_load()
    service.metrics.count_archive(service.lookup.image_archive.counts())
    return Response(service.metrics.render(), media_type=service.metrics.content_type)


def _ready(status: str, model: ServedModel) -> ReadinessResponse:
    metadata = model.bundle.metadata
    return ReadinessResponse.model_validate(
        {"status": status, "model_name": metadata.model_name, "model_version": metadata.version}
    )
