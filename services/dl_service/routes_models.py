"""Which model is served: asking, pointing the service at another bundle, and taking that back."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from onsight.bundle import list_bundles, validate_bundle_name
from onsight.db import DesiredModel, WorkerReport, live_workers, newest_desired
from onsight.errors import OnsightError
from services.dl_service.errors import ModelNameError, NoModelError, RolledBackError
from services.dl_service.follower import existing_workers, is_converged
from services.dl_service.models import ServedModel
from services.dl_service.requests import client_of
from services.dl_service.schemas import (
    CurrentModelResponse,
    DesiredVersion,
    ModelsResponse,
    ServedVersion,
    UpdateModelResponse,
    WorkerStatus,
    problem_responses,
)
from services.dl_service.state import Service, ServiceState

__all__ = ["router"]

router = APIRouter(tags=["models"])

_LOG = logging.getLogger(__name__)
_SUFFIX = ".yaml"
_POLL_S = 0.05
_PROBLEMS = problem_responses(
    {
        404: "unknown_model",
        409: "rolled_back",
        422: "invalid_model_name, bundle_refused",
        503: "storage_failed, dependency_down",
    }
)
_ROLLBACK_PROBLEMS = problem_responses(
    {
        404: "unknown_model",
        409: "nothing_to_roll_back, rolled_back",
        422: "bundle_refused",
        503: "storage_failed, dependency_down",
    }
)
Reason = Annotated[str, Query(max_length=500, description="kept with the wish")]


@router.put("/update_model/{metadata_file:path}", responses=_PROBLEMS)
async def update_model(
    request: Request,
    service: Service,
    metadata_file: Annotated[str, Path(examples=["solar_cells-v3.yaml"])],
    reason: Reason = "",
) -> UpdateModelResponse:
    """Point the service at a bundle: it is loaded and verified beside the old one, then swapped in, in every worker.

    Checksums and golden outputs must hold; otherwise the old model stays. The wish is recorded in the database, so
    that the service serves this version after a restart too. The answer names every worker, and whether it serves it.
    """
    name = _bundle_name(metadata_file)
    started_s = time.perf_counter()
    previous = service.models.name
    try:
        wish = await asyncio.to_thread(service.models.update, name, client_of(request.scope), reason)
    except OnsightError:
        service.metrics.count_swap("failed")
        raise
    return await _converged(service, wish, previous, started_s)


@router.post("/rollback", responses=_ROLLBACK_PROBLEMS)
async def rollback(request: Request, service: Service, reason: Reason = "") -> UpdateModelResponse:
    """Go back to the version that was served before this one, in every worker.

    It is loaded and verified first, as an update is; if that fails nothing changes.
    """
    started_s = time.perf_counter()
    previous = service.models.name
    try:
        wish = await asyncio.to_thread(service.models.rollback, client_of(request.scope), reason)
    except OnsightError:
        service.metrics.count_swap("failed")
        raise
    return await _converged(service, wish, previous, started_s)


@router.get("/models")
async def models(service: Service) -> ModelsResponse:
    """Every published version in central storage."""
    return ModelsResponse(bundles=await asyncio.to_thread(list_bundles, service.store))


@router.get("/models/current")
async def current_model(service: Service) -> CurrentModelResponse:
    """The version that should be served, the one that this worker serves, and what every other worker does."""
    try:
        serving = _served(service.models.current)
        message = f"serving {serving.bundle_name}"
    except NoModelError as error:
        serving, message = None, error.message
    try:
        desired = await asyncio.to_thread(newest_desired, service.database)
        workers = await asyncio.to_thread(live_workers, service.database)
    except OnsightError as error:
        _LOG.warning("the desired version cannot be read: %s", error.message)
        desired, workers = None, []
        message = f"{message}; the database with the desired version does not answer"
    return CurrentModelResponse(
        desired=_desired(desired), serving=serving, workers=[_worker(worker) for worker in workers], message=message
    )


async def _converged(service: ServiceState, wish: DesiredModel, previous: str, started_s: float) -> UpdateModelResponse:
    """Waits until every worker has dealt with the wish, or for as long as the settings allow."""
    await asyncio.to_thread(service.follower.report)
    workers = await _wait_for_workers(service, wish)
    late = [worker for worker in workers if not is_converged(worker, wish)]
    return UpdateModelResponse(
        bundle_name=wish.bundle_name,
        model_name=wish.model_name,
        model_version=wish.model_version,
        previous=previous or None,
        variant=service.models.current.bundle.variant,
        is_converged=not late,
        workers=[_worker(worker) for worker in workers],
        seconds=round(time.perf_counter() - started_s, 3),
        message=f"serving {wish.bundle_name}"
        + (f"; not yet: {', '.join(worker.worker_id for worker in late)}" if late else " in every worker"),
    )


async def _wait_for_workers(service: ServiceState, wish: DesiredModel) -> list[WorkerReport]:
    deadline_s = time.perf_counter() + service.settings.converge_timeout_s
    seen: frozenset[str] = frozenset()
    while True:
        workers = await asyncio.to_thread(existing_workers, service.database, service.follower.replica, seen)
        seen |= {worker.worker_id for worker in workers}
        newest = await asyncio.to_thread(newest_desired, service.database)
        if newest is not None and newest.seq != wish.seq:
            raise RolledBackError(
                f"{wish.bundle_name} was followed by {newest.bundle_name}: {newest.reason}",
                "GET /models/current says what is served",
            )
        is_over = all(is_converged(worker, wish) for worker in workers) or time.perf_counter() > deadline_s
        if is_over:
            return workers
        await asyncio.sleep(_POLL_S)


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
        variant=model.bundle.variant,
        loaded_at=model.loaded_at.isoformat(),
    )


def _desired(desired: DesiredModel | None) -> DesiredVersion | None:
    if desired is None:
        return None
    return DesiredVersion(
        bundle_name=desired.bundle_name,
        kind=desired.kind,
        requested_by=desired.requested_by,
        requested_at=desired.requested_at.isoformat(),
        reason=desired.reason,
    )


def _worker(report: WorkerReport) -> WorkerStatus:
    return WorkerStatus(
        worker_id=report.worker_id,
        replica=report.replica,
        pid=report.pid,
        bundle_name=report.bundle_name or None,
        problem=report.problem,
        reported_at=report.reported_at.isoformat(),
    )
