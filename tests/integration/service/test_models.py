"""Changing the model: verified beside the old one, swapped at once, remembered through restarts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from onsight.db import WorkerReport, newest_desired, open_database, report_worker, rollback_target
from onsight.db.workers import ALIVE_WITHIN_S
from tests.servers import pictures
from tests.servers.bundle import BundleStore, damage_graph
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.postgres import PostgresServer
from tests.servers.traffic import background_traffic


@pytest.fixture
def serving(bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """A service of the test's own, that serves the first bundle."""
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url)
    service.start()
    service.deploy(bundle_store.first)
    return service


def put(service: ServiceProcess, path: str) -> httpx.Response:
    return httpx.put(f"{service.url}/update_model/{path}", trust_env=False, timeout=60)


def served(service: ServiceProcess) -> str:
    return str(httpx.get(f"{service.url}/models/current", trust_env=False).json()["serving"]["bundle_name"])


def test_update_model_swaps_records_and_answers_what_was_before(
    serving: ServiceProcess, bundle_store: BundleStore
) -> None:
    response = put(serving, f"{bundle_store.second}.yaml?reason=better")

    assert response.status_code == 200
    assert (response.json()["bundle_name"], response.json()["previous"]) == (bundle_store.second, bundle_store.first)
    assert served(serving) == bundle_store.second
    database = open_database(f"sqlite:///{serving.state_dir}/predictions.db")
    newest, before = newest_desired(database), rollback_target(database)
    database.close()
    assert newest is not None
    assert before is not None
    assert (newest.bundle_name, before.bundle_name) == (bundle_store.second, bundle_store.first)
    assert (newest.reason, newest.requested_by) == ("better", "127.0.0.1")


@pytest.mark.parametrize(
    "path",
    [
        "../secrets.yaml",
        "..%2F..%2Fetc%2Fpasswd.yaml",
        "%2e%2e/%2e%2e/x-v1.yaml",
        "/etc/passwd.yaml",
        "cells-v1",
        "cells-v1.json",
        "cells.yaml",
        ".yaml",
        "cells-v1%00.yaml",
        "cells-v1.yaml%0A.yaml",
        "a" * 300 + "-v1.yaml",
        "cells-v1%5C..%5Cx.yaml",
    ],
)
def test_update_model_with_a_name_that_is_none_is_refused(service: ServiceProcess, path: str) -> None:
    # httpx would tidy dots away: the path goes out as it stands.
    request = httpx.Request("PUT", service.url, extensions={"target": f"/update_model/{path}".encode()})
    with httpx.Client(trust_env=False) as client:
        response = client.send(request)

    assert (response.status_code, response.json()["code"]) in {(422, "invalid_model_name"), (404, "not_found")}


def test_update_model_to_a_missing_bundle_is_not_found_and_the_old_one_stays(
    service: ServiceProcess, bundle_store: BundleStore
) -> None:
    response = put(service, "never-v9.yaml")

    assert (response.status_code, response.json()["code"]) == (404, "unknown_model")
    assert served(service) == bundle_store.first


def test_update_model_to_a_damaged_bundle_is_refused_and_the_old_one_stays(
    service: ServiceProcess, bundle_store: BundleStore
) -> None:
    response = put(service, f"{bundle_store.damaged}.yaml")

    assert (response.status_code, response.json()["code"]) == (422, "bundle_refused"), response.text
    assert served(service) == bundle_store.first
    assert httpx.get(f"{service.url}/health_check", trust_env=False).status_code == 200
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    newest = newest_desired(database)
    database.close()
    assert newest is not None
    assert newest.bundle_name == bundle_store.first


def test_swaps_under_load_fail_no_request_and_each_answer_is_its_versions(
    serving: ServiceProcess, bundle_store: BundleStore
) -> None:
    with background_traffic(serving.url) as traffic:
        for _ in range(4):
            for name in (bundle_store.second, bundle_store.first):
                before = len(traffic.acknowledged)
                assert put(serving, f"{name}.yaml").status_code == 200
                wait_until(lambda before=before: len(traffic.acknowledged) > before + 5)  # type: ignore[misc]

    assert (traffic.refused, traffic.broken) == ([], 0)
    by_version: dict[int, list[list[float]]] = {}
    for answer in traffic.acknowledged:
        by_version.setdefault(answer["model_version"], []).append(list(answer["prediction"].values()))
    assert len(by_version) == 2
    for answers in by_version.values():
        np.testing.assert_allclose(answers, np.broadcast_to(answers[0], np.shape(answers)), atol=1e-5)
    means = [np.mean(answers, axis=0) for answers in by_version.values()]
    assert not np.allclose(means[0], means[1], atol=1e-3)


def test_rollback_to_a_version_that_was_damaged_is_refused_and_survives_a_restart(
    own_bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    store = own_bundle_store
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=store.url)
    service.start()
    for name in (store.first, store.second):
        service.deploy(name)
    damage_graph(store.url, store.first)

    refused = httpx.post(f"{service.url}/rollback", trust_env=False, timeout=60)

    assert (refused.status_code, refused.json()["code"]) == (422, "bundle_refused")
    assert served(service) == store.second
    service.kill()
    service.start()
    assert served(service) == store.second


def test_update_names_a_worker_that_fell_silent_meanwhile_as_late(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_CONVERGE_TIMEOUT_S="5")
    service.start()
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    # It loads: its last word is about to be too old for a worker that lives.
    last_word = datetime.now(UTC) - timedelta(seconds=ALIVE_WITHIN_S - 3)
    report_worker(database, WorkerReport("elsewhere-1", "elsewhere", 1, "", 0, "", last_word))
    database.close()

    answer = put(service, f"{bundle_store.first}.yaml").json()

    assert not answer["is_converged"]
    assert "not yet: elsewhere-1" in answer["message"]
    assert served(service) == bundle_store.first


def test_restart_serves_the_desired_version(serving: ServiceProcess, bundle_store: BundleStore) -> None:
    put(serving, f"{bundle_store.second}.yaml").raise_for_status()
    serving.kill()

    serving.start()

    assert served(serving) == bundle_store.second
    assert httpx.post(f"{serving.url}/predict", content=pictures.jpeg(), trust_env=False).status_code == 200


def test_restart_while_the_database_is_down_serves_what_was_served(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess], stoppable_postgres: PostgresServer
) -> None:
    service = make_service(
        ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_DATABASE_URL=stoppable_postgres.create_database()
    )
    service.start()
    service.deploy(bundle_store.first)
    service.kill()
    stoppable_postgres.stop()

    service.start()

    assert served(service) == bundle_store.first
    refused = put(service, f"{bundle_store.second}.yaml")
    assert (refused.status_code, refused.json()["code"]) == (503, "dependency_down")
    assert "postgresql" not in refused.text
    assert served(service) == bundle_store.first
    stoppable_postgres.start()
    assert put(service, f"{bundle_store.second}.yaml").status_code == 200
