"""Building the application: routes, error answers, and a lifespan that opens in order and closes in reverse."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

import onsight
from onsight.bundle import Bundle, load_bundle, metadata_key, read_metadata
from onsight.db import Database, Outbox, OutboxShipper, limit_waits, open_database
from onsight.domain import BundleMetadata
from onsight.errors import OnsightError
from onsight.image_archive import ImageArchive
from onsight.place import place_of
from onsight.storage import ArtifactStore, open_store
from services.dl_service import (
    routes_batch,
    routes_feedback,
    routes_models,
    routes_predictions,
    routes_probes,
    routes_review,
    routes_v2,
)
from services.dl_service.access import Guard, is_loopback
from services.dl_service.allocator import keep_freed_memory
from services.dl_service.data_plane import DataPlane
from services.dl_service.desired_memory import DesiredMemory
from services.dl_service.drift_watch import DriftWatch
from services.dl_service.errors import UnknownModelError
from services.dl_service.follower import Follower
from services.dl_service.health import HealthCheck
from services.dl_service.key_ring import KeyRing
from services.dl_service.logs import configure_logging
from services.dl_service.lookups import BundleShelf, PredictionLookup
from services.dl_service.metrics import Metrics
from services.dl_service.middleware import RequestObserver
from services.dl_service.models import ModelControl
from services.dl_service.predict_endpoint import PREDICT_ROUTE, predict_operation
from services.dl_service.prediction_log import PredictionLog
from services.dl_service.problems import answer_problem
from services.dl_service.schemas import PredictResponse, ProblemDocument
from services.dl_service.settings import ServiceSettings
from services.dl_service.state import Admission, ServiceState

__all__ = ["create_app", "create_worker"]

_LOG = logging.getLogger(__name__)
_PROBE_THREADS = 2
_PARSE_THREADS = 2
_LAST_WAIT_S = 1.0


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
    routers = (
        routes_batch,
        routes_feedback,
        routes_models,
        routes_predictions,
        routes_probes,
        routes_review,
        routes_v2,
    )
    for routes in routers:
        app.include_router(routes.router)
    for kind in (OnsightError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer_problem)
    app.add_middleware(RequestObserver)
    app.openapi = partial(_openapi, app)  # type: ignore[method-assign]
    return app


def create_worker() -> FastAPI:
    """The application of one of several worker processes, which reads its settings from the environment itself."""
    settings = ServiceSettings()
    configure_logging(settings.log_level)
    return create_app(settings)


def _lifespan(settings: ServiceSettings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as opened:
            app.state.service = await asyncio.to_thread(_open, settings, opened)
            _end_with_supervisor()
            try:
                yield
            finally:
                await asyncio.to_thread(opened.close)

    return lifespan


def _end_with_supervisor() -> None:
    """A worker whose supervisor was killed would go on to take connections that nobody watches over."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        end = partial(signal.raise_signal, signal.SIGTERM)
        asyncio.get_running_loop().add_reader(supervisor.sentinel, end)


def _open(settings: ServiceSettings, opened: ExitStack) -> ServiceState:
    keep_freed_memory()
    limit_waits(settings.request_timeout_s)
    metrics = Metrics()
    opened.callback(metrics.close)
    database = open_database(settings.predictions_database_url)
    opened.callback(database.close)
    guard = _open_guard(settings, database, opened)
    admission = Admission(settings.max_uploads, settings.max_upload_bytes)
    outbox, shipper = _open_outbox(settings, database, metrics)
    opened.callback(outbox.close)
    store = open_store(settings)
    memory = DesiredMemory(settings.service_dir / "desired.json")
    models = ModelControl(
        partial(_load, store, settings), database, memory, settings.probation_rules, metrics.count_served
    )
    follower = Follower(models, database)
    # Listed before it looks for the wish: one that comes after that waits for this worker, one from before is found.
    follower.announce()
    models.restore()
    shipper.start()
    opened.callback(shipper.close)
    follower.start()
    opened.callback(follower.close)
    drift_watch = DriftWatch(database, metrics.drift)
    drift_watch.start()
    opened.callback(drift_watch.close)
    archive = ImageArchive(settings.image_archive_dir, settings.archive_policy)
    archive.start()
    opened.callback(archive.close)
    log = PredictionLog(outbox, archive, metrics)
    image_limits = settings.image_limits
    data_plane = DataPlane(models, log, image_limits, settings.batch_limits)
    opened.callback(data_plane.close)
    metrics.watch_load(lambda: (admission.in_flight, data_plane.queued))
    probe_threads = _open_threads(_PROBE_THREADS, "probe", opened)
    parse_threads = _open_threads(_PARSE_THREADS, "parse", opened)
    # The first thing at the end: what waits for a database that stands still gives up soon.
    opened.callback(limit_waits, _LAST_WAIT_S)
    shelf = BundleShelf(partial(_load, store, settings), models.bundle)
    return ServiceState(
        settings=settings,
        guard=guard,
        metrics=metrics,
        store=store,
        database=database,
        outbox=outbox,
        models=models,
        follower=follower,
        data_plane=data_plane,
        lookup=PredictionLookup(database, outbox.folder, archive, shelf.get, partial(_metadata, store), image_limits),
        health=HealthCheck(lambda: models.current, models.check_answer, probe_threads),
        parse_threads=parse_threads,
        admission=admission,
        place=place_of(settings),
    )


def _open_threads(n_threads: int, name: str, opened: ExitStack) -> ThreadPoolExecutor:
    threads = ThreadPoolExecutor(n_threads, thread_name_prefix=name)
    opened.callback(threads.shutdown)
    return threads


def _open_guard(settings: ServiceSettings, database: Database, opened: ExitStack) -> Guard:
    if not settings.needs_keys:
        return Guard(None, is_local=is_loopback(settings.host) and not settings.allow_open)
    keys = KeyRing(database, settings.service_dir / "api_keys.json")
    keys.start()
    opened.callback(keys.close)
    return Guard(keys)


def _open_outbox(settings: ServiceSettings, database: Database, metrics: Metrics) -> tuple[Outbox, OutboxShipper]:
    outbox = Outbox(settings.service_dir / "outbox", settings.outbox_max_bytes, settings.outbox_when_full)
    return outbox, OutboxShipper(
        outbox, database, settings.outbox_interval_s, lambda report: metrics.count_shipment(report, outbox)
    )


def _metadata(store: ArtifactStore, name: str) -> BundleMetadata:
    _require(store, name)
    return read_metadata(store, name)


def _require(store: ArtifactStore, name: str) -> None:
    if not store.exists(metadata_key(name)):
        raise UnknownModelError(f"central storage holds no bundle {name}", "publish it first", bundle=name)


def _load(store: ArtifactStore, settings: ServiceSettings, name: str) -> Bundle:
    _require(store, name)
    wanted = settings.preferred_variant
    bundle = load_bundle(store, name, settings.service_dir / "bundles", settings.engine, wanted)
    if settings.variant not in {"auto", bundle.variant}:
        _LOG.warning("%s has no variant %s: serving %s", name, settings.variant, bundle.variant)
    return bundle


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        for described in (PredictResponse, ProblemDocument):
            schemas[described.__name__] = described.model_json_schema()
        schema["paths"][PREDICT_ROUTE] = {"post": predict_operation()}
        app.openapi_schema = schema
    return app.openapi_schema
