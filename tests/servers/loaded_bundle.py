"""A loaded bundle whose answers can be explained."""

from __future__ import annotations

import pytest

from onsight.bundle import Bundle, Engine, load_bundle
from onsight.settings import Settings
from onsight.storage import open_store
from tests.servers.bundle import BundleStore


@pytest.fixture(scope="session")
def small_bundle(bundle_store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    store = open_store(Settings(central_storage_url=bundle_store.url))
    return load_bundle(store, bundle_store.first, tmp_path_factory.mktemp("cache"), Engine(threads=1))
