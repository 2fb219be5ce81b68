"""Building the application: routes, error answers, and a lifespan that opens in order and closes in reverse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

import onsight
from onsight.bundle import Bundle, load_bundle, metadata_key
from onsight.db import Outbox, OutboxShipper, open_database
from onsight.errors import OnsightError
from onsight.place import place_of
from onsight.storage import ArtifactStore, open_store
from services.dl_service import routes_models, routes_predict, routes_probes
from services.dl_service.data_plane import DataPlane, DataPlaneLimits
from services.dl_service.errors import NoModelError, UnknownModelError
from services.dl_service.metrics import Metrics
from services.dl_service.middleware import RequestObserver
from services.dl_service.models import DesiredMemory, ModelControl
from services.dl_service.problems import answer_problem
from services.dl_service.schemas import ProblemDocument
from services.dl_service.settings import ServiceSettings
from services.dl_service.state import Admission, ServiceState

__all__ = ["create_app"]

_LOG = logging.getLogger(__name__)


def create_app(settings: ServiceSettings) -> FastAPI:
    """The service as an ASGI application; nothing is opened before it starts."""
    app = FastAPI(
        title="Onsight dl_service",
        version=onsight.__version__,
        description="Classifies images with the bundle it is pointed at, and logs every prediction.",
        lifespan=_lifespan(settings),
        # The documentation pages fetch their scripts from the internet; /openapi.json does not.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in (routes_predict.router, routes_models.router, routes_probes.router):
        app.include_router(router)
    for kind in (OnsightError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer_problem)
    app.add_middleware(RequestObserver)
    app.openapi = partial(_openapi, app)  # type: ignore[method-assign]
    return app


def _lifespan(settings: ServiceSettings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as opened:
            app.state.service = await asyncio.to_thread(_open, settings, opened)
            try:
                yield
            finally:
                await asyncio.to_thread(opened.close)

    return lifespan


def _open(settings: ServiceSettings, opened: ExitStack) -> ServiceState:
    metrics = Metrics()
    opened.callback(metrics.close)
    database = open_database(settings.predictions_database_url)
    opened.callback(database.close)
    outbox = Outbox(settings.service_dir / "outbox", settings.outbox_max_bytes)
    opened.callback(outbox.close)
    shipper = OutboxShipper(
        outbox, database, settings.outbox_interval_s, lambda report: metrics.count_shipment(report, outbox)
    )
    models = ModelControl(
        partial(_load, open_store(settings), settings), database, DesiredMemory(settings.service_dir / "desired.json")
    )
    _restore(models, metrics)
    shipper.start()
    opened.callback(shipper.close)
    limits = DataPlaneLimits(
        settings.image_limits, settings.worker_threads, settings.queue_size, settings.request_deadline_s
    )
    data_plane = DataPlane(models, outbox, metrics, limits)
    opened.callback(data_plane.close)
    return ServiceState(
        settings, metrics, outbox, models, data_plane, Admission(settings.max_uploads), place_of(settings)
    )


def _restore(models: ModelControl, metrics: Metrics) -> None:
    models.restore()
    try:
        metadata = models.current.bundle.metadata
    except NoModelError as error:
        _LOG.warning("%s", error.message)
    else:
        metrics.set_served(metadata.model_name, metadata.version)


def _load(store: ArtifactStore, settings: ServiceSettings, name: str) -> Bundle:
    if not store.exists(metadata_key(name)):
        raise UnknownModelError(f"central storage holds no bundle {name}", "publish it first", bundle=name)
    return load_bundle(store, name, settings.service_dir / "bundles", settings.session_threads)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        app.openapi_schema = schema
    return app.openapi_schema
