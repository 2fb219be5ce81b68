"""Bundles of versions that are not served any more are loaded once, few at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from onsight.bundle import Bundle
from onsight.errors import BundleError
from services.dl_service.lookups import BundleShelf


def bundle(name: str) -> Bundle:
    return cast("Any", SimpleNamespace(metadata=SimpleNamespace(bundle_name=name)))


class Store:
    """Loads bundles and remembers which."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.broken: set[str] = set()

    def load(self, name: str) -> Bundle:
        self.loaded.append(name)
        if name in self.broken:
            raise BundleError(f"{name} is damaged")
        return bundle(name)


@pytest.fixture
def store() -> Store:
    return Store()


def test_shelf_keeps_the_two_used_last(store: Store) -> None:
    shelf = BundleShelf(store.load, lambda: None)

    for name in ("m-v1", "m-v2", "m-v1", "m-v3", "m-v1", "m-v2"):
        assert shelf.get(name).metadata.bundle_name == name

    assert store.loaded == ["m-v1", "m-v2", "m-v3", "m-v2"]


def test_shelf_loads_no_bundle_that_is_served(store: Store) -> None:
    served = bundle("m-v4")

    assert BundleShelf(store.load, lambda: served).get("m-v4") is served
    assert store.loaded == []


def test_shelf_tries_again_after_a_failure(store: Store) -> None:
    shelf = BundleShelf(store.load, lambda: None)
    store.broken.add("m-v1")
    with pytest.raises(BundleError):
        shelf.get("m-v1")
    store.broken.clear()

    assert shelf.get("m-v1") is shelf.get("m-v1")
    assert store.loaded == ["m-v1", "m-v1"]


def test_shelf_loads_once_for_many_at_the_same_time(store: Store) -> None:
    together = threading.Barrier(8)
    shelf = BundleShelf(store.load, lambda: None)

    def ask(_: int) -> Bundle:
        together.wait()
        return shelf.get("m-v1")

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))

    assert len({id(one) for one in found}) == 1
    assert store.loaded == ["m-v1"]
