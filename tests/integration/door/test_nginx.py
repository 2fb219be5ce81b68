"""The door's own rules: how much it takes, how much at once, and what it sends to a second replica."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

import pytest

from tests.servers.dl_service import wait_until
from tests.servers.nginx import Door

_IMAGE, _BATCH, _SMALL = 2_000_000 + 65_536, 4_000_000 + 65_536, 65_536
_INFER = "/v2/models/cells/versions/1/infer"


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/predict", _IMAGE),
        ("/predict/", _IMAGE),
        ("/web/predict", _IMAGE),
        ("/predict/batch", _BATCH),
        (_INFER, _BATCH),
        ("/feedback/1", _SMALL),
        ("/review/1", _SMALL),
        ("/web/review/1", _SMALL),
        ("/rollback", _SMALL),
        ("/nothing", _SMALL),
    ],
)
def test_body_when_one_byte_too_large_for_its_path_then_refused(nginx: Door, path: str, most: int) -> None:
    assert nginx.client.post(path, content=bytes(most)).status_code == 200
    refused = nginx.client.post(path, content=bytes(most + 1))

    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
    assert nginx.replicas.seen == [f"POST {path.removeprefix('/web')}"]


@pytest.mark.parametrize(("path", "most"), [("/predict", 10), ("/web/predict", 10), ("/predict/batch", 3), (_INFER, 3)])
def test_large_bodies_when_too_many_at_once_then_small_ones_alone_are_taken(nginx: Door, path: str, most: int) -> None:
    with ExitStack() as slow:
        for _ in range(most):
            slow.enter_context(nginx.begin_upload(path, 1_500_000))
        for body in (bytes(1_500_000), iter([bytes(1000)])):
            refused = nginx.client.post(path, content=body)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert nginx.client.post(path, content=bytes(900_000)).status_code == 200
    wait_until(lambda: nginx.client.post(path, content=bytes(1_500_000)).status_code == 200)


def test_body_when_there_is_no_room_for_it_then_told_to_come_back(nginx: Door) -> None:
    shutil.rmtree(nginx.folder / "written" / "body")

    answer = nginx.client.post("/predict", content=bytes(1_500_000))

    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert nginx.client.post("/predict", content=bytes(1000)).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/web/predict", _INFER])
def test_prediction_when_two_of_three_replicas_die_then_the_third_answers(nginx: Door, path: str) -> None:
    nginx.replicas.dying = 2

    assert nginx.client.post(path, content=b"image").status_code == 200
    assert len(nginx.replicas.seen) == 3


@pytest.mark.parametrize("path", ["/review/1", "/web/review/1", "/feedback/1", "/rollback"])
def test_decision_when_its_replica_dies_then_not_sent_again(nginx: Door, path: str) -> None:
    nginx.replicas.dying = 1

    answer = nginx.client.post(path, content=b"{}")

    assert (answer.status_code, answer.json()["code"]) == (503, "no_replica")
    assert len(nginx.replicas.seen) == 1


def test_page_when_it_asks_for_what_it_may_not_then_not_found(nginx: Door) -> None:
    assert nginx.client.get("/web/predict").status_code == 404
    assert nginx.client.post("/web/rollback").status_code == 404
    assert nginx.replicas.seen == []
