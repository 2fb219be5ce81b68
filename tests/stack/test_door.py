"""What the one door lets in, and what becomes of it."""

from __future__ import annotations

import httpx
import pytest

from tests.servers.dl_service import wait_until
from tests.servers.stack import Stack


@pytest.mark.usefixtures("served_model")
def test_a_prediction_through_the_door_is_a_row_in_postgres(
    stack: Stack, door: httpx.Client, photograph: bytes
) -> None:
    response = door.post("/predict", content=photograph, headers={"X-Request-ID": "stack-test"})

    assert response.status_code == 200
    assert response.headers["X-Request-ID"] == "stack-test"
    query = f"SELECT top_class FROM predictions WHERE prediction_id = '{response.json()['prediction_id']}'"
    wait_until(lambda: stack.rows(query) == response.json()["top_class"])


def test_the_door_asks_for_keys_and_keeps_metrics_inside(stack: Stack, photograph: bytes) -> None:
    with stack.client() as visitor, stack.client("web_api_key") as page:
        assert visitor.post("/predict", content=photograph).status_code == 401
        assert page.put("/update_model/none-v1.yaml").status_code == 403
        assert visitor.get("/metrics").status_code == 404


def test_a_body_that_is_too_large_gets_a_problem_document(stack: Stack) -> None:
    with stack.client("web_api_key") as door:
        response = door.post("/predict", content=b"x" * (110 * 1024 * 1024))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
