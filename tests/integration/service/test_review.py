"""The review queue over HTTP: what waits, labelling, skipping, and two people at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from onsight.db import (
    Database,
    ReviewItem,
    add_review_items,
    create_api_key,
    find_prediction,
    find_review_item,
    open_database,
    read_opinions,
    uuid7,
)
from tests.servers import pictures
from tests.servers.bundle import CLASSES, BundleStore
from tests.servers.dl_service import ServiceProcess, wait_until


@pytest.fixture
def database(service: ServiceProcess) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    yield opened
    opened.close()


@pytest.fixture
def waiting(http: httpx.Client, database: Database) -> Callable[..., str]:
    """Makes a prediction that waits for review, and gives its id."""

    def make(seed: int = 0, **changes: Any) -> str:
        name = str(http.post("/predict", content=pictures.jpeg(seed)).json()["prediction_id"])
        wait_until(lambda: find_prediction(database, name) is not None)
        item = ReviewItem(name, "cells", changes.pop("version", 1), "uncertain", 0.9, datetime.now(UTC), **changes)
        add_review_items(database, [item])
        return name

    return make


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_what_waits_is_named_with_its_classes(http: httpx.Client, waiting: Callable[..., str]) -> None:
    name = waiting(1)

    answer = http.get("/review").json()

    item = answer["items"][0]  # the newest
    logged = http.get(f"/predictions/{name}").json()
    assert item["prediction_id"] == name
    assert (item["reason"], item["score"], item["top_class"]) == ("uncertain", 0.9, logged["top_class"])
    assert list(item["prediction"]) == item["classes"] == list(CLASSES)
    assert item["prediction"] == logged["prediction"]
    assert item["classifier_type"] == "multi-class"
    assert answer["n_open"] >= 1
    assert len(http.get("/review?limit=1").json()["items"]) == 1


def test_label_closes_the_item_and_is_on_record(
    http: httpx.Client, waiting: Callable[..., str], database: Database
) -> None:
    name = waiting(2)
    n_open = http.get("/review").json()["n_open"]

    answer = http.post(f"/review/{name.upper()}", json={"label": "broken", "who": "ann"})

    assert answer.json() == {"prediction_id": name, "n_open": n_open - 1}
    (opinion,) = read_opinions(database, name)
    assert (opinion.labels, opinion.labelled_by, opinion.source) == (("broken",), "ann", "review")
    assert name not in [item["prediction_id"] for item in http.get("/review?limit=100").json()["items"]]
    again = http.post(f"/review/{name}", json={"label": "broken"})
    assert code_of(again) == (409, "review_closed")
    assert "by ann" in again.json()["detail"]


def test_skip_closes_the_item_without_a_label(
    http: httpx.Client, waiting: Callable[..., str], database: Database
) -> None:
    name = waiting(3)

    assert http.post(f"/review/{name}", json={"skip": True}).is_success

    item = find_review_item(database, name)
    assert item is not None
    assert (item.status, item.decided_by) == ("skipped", "127.0.0.1")
    assert read_opinions(database, name) == []


def test_two_people_at_once_then_the_second_is_told(
    service: ServiceProcess, waiting: Callable[..., str], database: Database
) -> None:
    names = [waiting(10 + n) for n in range(10)]

    def decide(n: int) -> int:
        url = f"{service.url}/review/{names[n // 2]}"
        return httpx.post(url, json={"label": CLASSES[n % 2]}, trust_env=False, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(decide, range(20)))

    assert sorted(statuses) == [200] * 10 + [409] * 10
    assert all(len(read_opinions(database, name)) == 1 for name in names)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"label": "melted"}, (422, "unknown_class")),
        ({"labels": ["broken", "scratched"]}, (422, "invalid_feedback")),
        ({"labels": []}, (422, "invalid_feedback")),
        ({}, (422, "invalid_feedback")),
        ({"label": "broken", "skip": True}, (422, "invalid_feedback")),
        ({"skip": False}, (422, "invalid_feedback")),
        ({"label": "broken", "who": "a\nb"}, (422, "invalid_feedback")),
        ({"label": "broken", "colour": "red"}, (422, "invalid_feedback")),
    ],
)
def test_decision_that_cannot_be_kept_leaves_the_item_open(
    http: httpx.Client, waiting: Callable[..., str], database: Database, body: Any, expected: tuple[int, str]
) -> None:
    name = waiting(4)

    assert code_of(http.post(f"/review/{name}", json=body)) == expected

    item = find_review_item(database, name)
    assert item is not None
    assert item.status == "open"


def test_requests_that_name_nothing_or_are_no_json_are_refused(http: httpx.Client, waiting: Callable[..., str]) -> None:
    name = waiting(5)

    assert code_of(http.post(f"/review/{uuid7()}", json={"skip": True})) == (404, "unknown_review_item")
    assert code_of(http.post("/review/1", json={"skip": True})) == (422, "invalid_prediction_id")
    assert code_of(http.post(f"/review/{name}", content=b'{"skip": true}')) == (400, "malformed_body")
    assert http.get("/review?limit=0").status_code == 422
    assert http.get("/review?limit=1000").status_code == 422


def test_item_of_a_version_that_is_gone_can_be_skipped_alone(http: httpx.Client, waiting: Callable[..., str]) -> None:
    name = waiting(6, version=9)

    (item,) = (one for one in http.get("/review").json()["items"] if one["prediction_id"] == name)

    assert (item["classes"], item["prediction"], item["classifier_type"]) == ([], None, None)
    assert code_of(http.post(f"/review/{name}", json={"label": "broken"})) == (404, "unknown_model")
    assert http.post(f"/review/{name}", json={"skip": True}).is_success


def test_review_needs_the_scope_feedback(
    make_service: Callable[..., ServiceProcess], bundle_store: BundleStore
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_REQUIRE_API_KEYS="true")
    service.start()
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    predicts, _ = create_api_key(database, "line-3", ["predict"])
    reviews, _ = create_api_key(database, "ann", ["predict", "feedback"])
    name = uuid7()
    database.close()

    def ask(method: str, path: str, key: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        body = {"skip": True} if method == "POST" else None
        return httpx.request(method, f"{service.url}{path}", json=body, headers=headers, trust_env=False)

    wait_until(lambda: ask("GET", "/review", reviews).is_success)
    assert ask("GET", "/review", predicts).status_code == 403
    assert ask("POST", f"/review/{name}", predicts).status_code == 403
    assert ask("POST", f"/review/{name}", reviews).status_code == 404
