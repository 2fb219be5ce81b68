"""Feedback over HTTP: who may give it, what is kept of it, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from onsight.db import FeedbackRow, Scope, create_api_key, find_prediction, open_database, uuid7
from tests.servers import pictures
from tests.servers.bundle import BundleStore
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.postgres import PostgresServer

GOOD = pictures.jpeg(width=16, height=16)


def predict(http: httpx.Client, **headers: str) -> str:
    answer = http.post("/predict", content=GOOD, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["prediction_id"])


def answered(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, "ok" if response.is_success else str(response.json()["code"])


def test_feedback_when_given_at_once_then_is_kept_and_told(http: httpx.Client) -> None:
    # The prediction may still be in the outbox.
    prediction_id = predict(http)

    given = http.post(f"/feedback/{prediction_id}", json={"label": "broken", "who": "ann"})

    assert given.status_code == 201
    told = http.get(f"/feedback/{prediction_id}")
    assert told.status_code == 200
    assert told.json() == given.json()
    known = told.json()
    assert (known["labels"], known["is_disputed"], known["n_people"]) == (["broken"], False, 1)
    assert (known["prediction_id"], known["model_name"], known["model_version"]) == (prediction_id, "cells", 1)
    assert known["opinions"][0]["labelled_by"] == "ann"
    assert known["opinions"][0]["source"] == "feedback"


def test_feedback_when_people_differ_then_is_disputed_until_one_more_decides(http: httpx.Client) -> None:
    path = f"/feedback/{predict(http)}"
    states = []
    for who, label in (("ann", "broken"), ("bob", "scratched"), ("cid", "scratched"), ("bob", "broken")):
        known = http.post(path, json={"label": label, "who": who}).json()
        states.append((known["labels"], known["is_disputed"], known["n_people"], len(known["opinions"])))

    assert states == [
        (["broken"], False, 1, 1),
        (None, True, 2, 2),
        (["scratched"], False, 3, 3),
        (["broken"], False, 3, 4),
    ]


def test_feedback_when_the_same_is_sent_by_many_at_once_then_is_kept_once(http: httpx.Client) -> None:
    path = f"/feedback/{predict(http)}"
    body = {"labels": ["broken"], "who": "ann", "when": "2024-03-01T13:00:00+01:00", "source": "review"}

    with ThreadPoolExecutor(4) as threads:
        codes = list(threads.map(lambda _: http.post(path, json=body).status_code, range(8)))

    assert codes == [201] * 8
    [opinion] = http.get(path).json()["opinions"]
    assert opinion["labelled_at"] == "2024-03-01T12:00:00Z"
    assert opinion["source"] == "review"


def test_feedback_when_nobody_is_named_then_is_of_the_address(http: httpx.Client) -> None:
    known = http.post(f"/feedback/{predict(http)}", json={"label": "broken"}).json()

    assert known["opinions"][0]["labelled_by"] == "127.0.0.1"


def test_feedback_when_nobody_gave_any_then_there_is_none(http: httpx.Client) -> None:
    known = http.get(f"/feedback/{predict(http)}").json()

    assert (known["labels"], known["is_disputed"], known["opinions"]) == (None, False, [])


def test_feedback_when_the_class_is_unknown_then_names_those_of_the_version(http: httpx.Client) -> None:
    path = f"/feedback/{predict(http)}"

    refused = http.post(path, json={"label": "Broken"})

    assert answered(refused) == (422, "unknown_class")
    assert "Broken" in refused.json()["detail"]
    assert refused.json()["hint"] == "its classes are functional, scratched, broken"
    assert http.get(path).json()["opinions"] == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_feedback_when_there_is_no_such_prediction_then_says_when_to_ask_again(http: httpx.Client, method: str) -> None:
    body = {"label": "broken"} if method == "POST" else None

    refused = http.request(method, f"/feedback/{uuid7()}", json=body)

    assert answered(refused) == (404, "unknown_prediction")
    assert refused.headers["retry-after"] == "1"
    assert answered(http.request(method, "/feedback/7", json=body)) == (422, "invalid_prediction_id")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "give either label or labels"),
        ({"label": "broken", "labels": ["broken"]}, "give either label or labels"),
        ({"labels": []}, "one class each, not 0"),
        ({"labels": ["broken", "scratched"]}, "one class each, not 2"),
        ({"label": 1, "who": "", "source": "x", "more": 1}, "label: .*who: .*source: .*more: "),
        ({"label": "broken", "who": "a\0b"}, "who"),
        ({"label": "broken", "when": "2024-03-01T12:00:00"}, "when: .*timezone"),
        ({"label": "broken", "when": "2999-03-01T12:00:00Z"}, "future"),
        ({"label": "broken", "when": "0001-01-01T00:00:00+14:00"}, "before the year 2000"),
        ({"label": "broken", "when": "9999-12-31T23:59:59-14:00"}, "in the future"),
        ([], "body"),
    ],
    ids=["none", "both", "no-class", "two", "all-wrong", "nul", "no-zone", "future", "long-ago", "far-future", "list"],
)
def test_feedback_when_it_cannot_be_kept_then_says_why(http: httpx.Client, body: Any, said: str) -> None:
    path = f"/feedback/{predict(http)}"

    refused = http.post(path, json=body)

    assert answered(refused) == (422, "invalid_feedback")
    assert re.search(said, refused.json()["detail"]), refused.text
    assert http.get(path).json()["opinions"] == []


def test_feedback_when_the_body_is_no_json_or_too_large_then_refuses(http: httpx.Client) -> None:
    path, json_type = f"/feedback/{predict(http)}", {"Content-Type": "application/json; charset=utf-8"}

    assert answered(http.post(path, content=b'{"label": "broken"}')) == (400, "malformed_body")
    assert answered(http.post(path, content=b"{", headers=json_type)) == (422, "invalid_feedback")
    assert answered(http.post(path, content=b"\xff", headers=json_type)) == (422, "invalid_feedback")
    assert answered(http.post(path, content=b" " * 65_537, headers=json_type)) == (413, "body_too_large")
    assert answered(http.post(path, content=b'{"label": "broken"}', headers=json_type)) == (201, "ok")


def test_feedback_when_a_key_is_needed_then_takes_those_of_its_scope_and_their_name(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_REQUIRE_API_KEYS="true")
    service.start()
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    scopes: tuple[Scope, ...] = ("predict", "feedback", "admin")
    keys = {scope: {"X-API-Key": create_api_key(database, f"line-{scope}", [scope])[0]} for scope in scopes}
    database.close()
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as http:
        wait_until(lambda: http.get("/models", headers=keys["admin"]).is_success)
        http.put(f"/update_model/{bundle_store.first}.yaml", headers=keys["admin"]).raise_for_status()
        path, body = f"/feedback/{predict(http, **keys['predict'])}", {"label": "broken"}

        assert answered(http.post(path, json=body)) == (401, "unauthorized")
        assert answered(http.post(path, json=body, headers=keys["predict"])) == (403, "forbidden_scope")
        assert answered(http.get(path, headers=keys["predict"])) == (403, "forbidden_scope")
        taken = http.post(path, json=body, headers=keys["feedback"])

        assert taken.status_code == 201
        assert taken.json()["opinions"][0]["labelled_by"] == "line-feedback"
        assert answered(http.get(path, headers=keys["admin"])) == (200, "ok")


def test_feedback_when_postgres_is_away_then_refuses_and_keeps_nothing(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess], stoppable_postgres: PostgresServer
) -> None:
    url = stoppable_postgres.create_database()
    service = make_service(
        ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_DATABASE_URL=url, ONSIGHT_REQUEST_TIMEOUT_S="2"
    )
    service.start()
    service.deploy(bundle_store.first)
    database = open_database(url)
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as http:
        shipped = predict(http)
        wait_until(lambda: find_prediction(database, shipped) is not None)
        stoppable_postgres.stop()
        unshipped = predict(http)
        for prediction_id in (shipped, unshipped):
            refused = http.post(f"/feedback/{prediction_id}", json={"label": "broken"})
            assert answered(refused) == (503, "dependency_down")
            assert refused.headers["retry-after"] == "1"
        assert http.get("/livez").is_success
        stoppable_postgres.start()
        for prediction_id in (shipped, unshipped):
            path = f"/feedback/{prediction_id}"
            wait_until(lambda path=path: http.get(path).is_success)  # type: ignore[misc]
            assert http.get(path).json()["opinions"] == []
            assert answered(http.post(path, json={"label": "broken"})) == (201, "ok")
    with database.transaction() as connection:
        assert connection.execute(select(func.count()).select_from(FeedbackRow)).scalar_one() == 2
    database.close()


def test_feedback_when_the_version_is_gone_from_storage_then_its_classes_are_not_known(
    own_bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    store = own_bundle_store
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=store.url)
    service.start()
    service.deploy(store.first)
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as http:
        path = f"/feedback/{predict(http)}"
        (Path(store.url) / "models" / f"{store.first}.yaml").unlink()

        assert answered(http.post(path, json={"label": "broken"})) == (404, "unknown_model")
        assert answered(http.get(path)) == (200, "ok")
