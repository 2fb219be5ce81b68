"""Which model is served: asking, and pointing the service at another bundle."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from onsight.bundle import validate_bundle_name
from onsight.db import DesiredModel
from onsight.errors import OnsightError
from services.dl_service.errors import ModelNameError, NoModelError
from services.dl_service.middleware import client_of
from services.dl_service.models import ServedModel
from services.dl_service.schemas import (
    CurrentModelResponse,
    DesiredVersion,
    ServedVersion,
    UpdateModelResponse,
    problem_responses,
)
from services.dl_service.state import Service

__all__ = ["router"]

router = APIRouter(tags=["models"])

_LOG = logging.getLogger(__name__)
_SUFFIX = ".yaml"
_PROBLEMS = problem_responses(
    {
        404: "unknown_model",
        422: "invalid_model_name, bundle_refused",
        503: "storage_failed, dependency_down",
    }
)


@router.put("/update_model/{metadata_file:path}", responses=_PROBLEMS)
async def update_model(
    request: Request,
    service: Service,
    metadata_file: Annotated[str, Path(examples=["solar_cells-v3.yaml"])],
    reason: Annotated[str, Query(max_length=500, description="kept with the wish")] = "",
) -> UpdateModelResponse:
    """Point the service at a bundle: it is loaded and verified beside the old one, then swapped in.

    Checksums and golden outputs must hold; otherwise the old model stays. The wish is recorded in the database, so
    that the service serves this version after a restart too.
    """
    name = _bundle_name(metadata_file)
    started_s = time.perf_counter()
    try:
        update = await asyncio.to_thread(service.models.update, name, client_of(request.scope), reason)
    except OnsightError:
        service.metrics.count_swap("failed")
        raise
    metadata = update.current.bundle.metadata
    service.metrics.count_swap("done")
    service.metrics.set_served(metadata.model_name, metadata.version)
    return UpdateModelResponse(
        bundle_name=name,
        model_name=metadata.model_name,
        model_version=metadata.version,
        previous=update.previous,
        seconds=round(time.perf_counter() - started_s, 3),
        message=f"serving {name}",
    )


@router.get("/models/current")
async def current_model(service: Service) -> CurrentModelResponse:
    """The version that should be served, and the one that is."""
    try:
        serving = _served(service.models.current)
        message = f"serving {serving.bundle_name}"
    except NoModelError as error:
        serving, message = None, error.message
    try:
        desired = await asyncio.to_thread(service.models.desired)
    except OnsightError as error:
        _LOG.warning("the desired version cannot be read: %s", error.message)
        desired, message = None, f"{message}; the database with the desired version does not answer"
    return CurrentModelResponse(desired=_desired(desired), serving=serving, message=message)


def _bundle_name(metadata_file: str) -> str:
    hint = f"name the metadata file in central storage: <model_name>-v<version>{_SUFFIX}"
    if not metadata_file.endswith(_SUFFIX):
        raise ModelNameError(f"{metadata_file[:200]!r} does not end in {_SUFFIX}", hint)
    name = metadata_file.removesuffix(_SUFFIX)
    try:
        validate_bundle_name(name)
    except OnsightError as error:
        raise ModelNameError(f"{metadata_file[:200]!r} is no model's metadata file", hint) from error
    return name


def _served(model: ServedModel) -> ServedVersion:
    metadata = model.bundle.metadata
    return ServedVersion(
        bundle_name=metadata.bundle_name,
        model_name=metadata.model_name,
        model_version=metadata.version,
        classes=list(metadata.classes),
        classifier_type=metadata.classifier_type,
        input_width=metadata.input_width,
        input_height=metadata.input_height,
        sha256=metadata.sha256,
        loaded_at=model.loaded_at.isoformat(),
    )


def _desired(desired: DesiredModel | None) -> DesiredVersion | None:
    if desired is None:
        return None
    return DesiredVersion(
        bundle_name=desired.bundle_name,
        requested_by=desired.requested_by,
        requested_at=desired.requested_at.isoformat(),
        reason=desired.reason,
    )
