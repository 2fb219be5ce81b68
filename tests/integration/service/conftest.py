"""One running service with a real bundle, shared by the tests of a module that do not change it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.servers.bundle import BundleStore
from tests.servers.dl_service import ServiceProcess


@pytest.fixture(scope="module")
def service(bundle_store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that serves the store's first bundle, with small limits."""
    running = ServiceProcess(
        tmp_path_factory.mktemp("service"),
        ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url,
        ONSIGHT_MAX_BODY_BYTES="200000",
        ONSIGHT_MAX_IMAGE_PIXELS="4000000",
    )
    running.start()
    running.deploy(bundle_store.first)
    yield running
    running.kill()


@pytest.fixture
def http(service: ServiceProcess) -> Iterator[httpx.Client]:
    """A client of that service."""
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        yield client
