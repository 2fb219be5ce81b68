"""A bundle with an int8 variant: the service answers with the one that is asked for, and says which it is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from onsight.bundle import Bundle, load_bundle
from onsight.config import DeployConfig
from onsight.deployment import DeployRequest, deploy_bundle
from onsight.domain import Variant
from onsight.settings import Settings
from onsight.storage import open_store
from onsight.training import quantize_graph
from tests.servers.bundle import BundleStore, publish_small
from tests.servers.dl_service import ServiceProcess


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Central storage with one bundle that has both variants."""
    root = tmp_path_factory.mktemp("central_storage")
    publish_small(root, 1, tmp_path_factory.mktemp("parts"), quantize=quantize_graph)
    return str(root)


def bundle_of(storage: str, cache: Path, variant: Variant) -> Bundle:
    return load_bundle(open_store(Settings(central_storage_url=storage)), "cells-v1", cache, variant=variant)


def current(service: ServiceProcess) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{service.url}/models/current", trust_env=False).json()
    return answer


def answers(service: ServiceProcess, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    rows = []
    for image in images:
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, "PNG")
        response = httpx.post(f"{service.url}/predict", content=encoded.getvalue(), trust_env=False)
        rows.append(list(response.raise_for_status().json()["prediction"].values()))
    return np.array(rows)


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_the_service_answers_with_the_variant_that_is_set_and_says_so(
    make_service: Callable[..., ServiceProcess], storage: str, tmp_path: Path, variant: Variant
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=storage, ONSIGHT_VARIANT=variant)
    service.start()

    updated = httpx.put(f"{service.url}/update_model/cells-v1.yaml", trust_env=False, timeout=60).json()

    assert (updated["bundle_name"], updated["variant"]) == ("cells-v1", variant)
    assert current(service)["serving"]["variant"] == variant
    bundle = bundle_of(storage, tmp_path / "cache", variant)
    assert bundle.variant == variant
    given = answers(service, bundle.golden.images)
    (other,) = bundle.other_golden
    np.testing.assert_allclose(given, bundle.golden.probabilities, atol=1e-5)
    np.testing.assert_allclose(given, other.probabilities, atol=0.05)
    assert np.abs(given - other.probabilities).max() > 1e-4


def test_deploying_to_a_service_that_answers_in_int8_passes_the_golden_check(
    make_service: Callable[..., ServiceProcess], storage: str, tmp_path: Path
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=storage, ONSIGHT_VARIANT="int8")
    service.start()
    config = DeployConfig(service_url=service.url, start_local_service=False, golden_tolerance=1e-4)
    settings = Settings(central_storage_url=storage)

    outcome = deploy_bundle(DeployRequest(bundle_of(storage, tmp_path / "cache", "fp32"), config), settings)

    assert outcome.golden.max_difference < 1e-4
    assert current(service)["serving"]["variant"] == "int8"


def test_a_bundle_without_the_variant_that_is_set_is_served_in_fp32_with_a_warning(
    make_service: Callable[..., ServiceProcess], bundle_store: BundleStore
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_VARIANT="int8")
    service.start()

    service.deploy(bundle_store.first)

    assert current(service)["serving"]["variant"] == "fp32"
    warnings = [json.dumps(line) for line in service.log_lines() if line["level"] == "WARNING"]
    assert any(f"{bundle_store.first} has no variant int8: serving fp32" in line for line in warnings)
