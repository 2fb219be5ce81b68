"""The table from errors to answers."""

from __future__ import annotations

import json

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from onsight.errors import OnsightError, StorageError
from services.dl_service.errors import BodyTooLargeError, OverloadedError
from services.dl_service.problems import NOT_MET_BY_SERVICE, PROBLEMS, answer_problem, problem_of


def subclasses(kind: type[OnsightError]) -> set[type[OnsightError]]:
    below = {deeper for direct in kind.__subclasses__() for deeper in subclasses(direct)}
    return below | {kind}


def ours(kind: type[OnsightError]) -> bool:
    return kind.__module__.startswith(("onsight.", "services.dl_service"))


LEAVES = sorted(
    (kind for kind in subclasses(OnsightError) if not kind.__subclasses__() and ours(kind)),
    key=lambda kind: kind.__name__,
)


@pytest.fixture
def request_() -> Request:
    state = {"request_id": "r-1"}
    return Request({"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b"", "state": state})


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_error_is_in_the_table_or_named_as_never_met(leaf: type[OnsightError]) -> None:
    assert (leaf in PROBLEMS) != (leaf in NOT_MET_BY_SERVICE)


def test_codes_are_unique_and_statuses_are_errors() -> None:
    codes = [problem.code for problem in PROBLEMS.values()]

    assert len(set(codes)) == len(codes)
    assert all(400 <= problem.status < 600 for problem in PROBLEMS.values())
    assert all(problem.shows_detail for problem in PROBLEMS.values() if problem.status < 500)


def test_problem_of_an_error_that_is_never_met_is_the_nearest_above() -> None:
    assert [problem_of(kind("x")).status for kind in NOT_MET_BY_SERVICE if not issubclass(kind, StorageError)]
    assert problem_of(OnsightError("x")).code == "internal_error"


def test_answer_of_a_client_error_shows_message_hint_and_request_id(request_: Request) -> None:
    response = answer_problem(request_, BodyTooLargeError("too many bytes", "send fewer"))

    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body) == {
        "type": "urn:onsight:problem:body_too_large",
        "title": "The body is too large",
        "status": 413,
        "code": "body_too_large",
        "detail": "too many bytes",
        "hint": "send fewer",
        "request_id": "r-1",
    }
    assert request_.state.code == "body_too_large"


@pytest.mark.parametrize("error", [StorageError("secret path"), OnsightError("secret"), ValueError("secret")])
def test_answer_of_a_server_error_hides_the_message_and_logs_it(
    request_: Request, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    response = answer_problem(request_, error)

    assert response.status_code >= 500
    assert b"secret" not in response.body
    assert "secret" in caplog.text


@pytest.mark.parametrize(("path", "is_open_inference"), [("/v2", True), ("/v2/models/x", True), ("/v2x", False)])
def test_answer_below_v2_has_the_form_of_the_open_inference_protocol(
    request_: Request, path: str, is_open_inference: bool
) -> None:
    request_.scope["path"] = path

    response = answer_problem(request_, OverloadedError("full", "wait"))

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    if is_open_inference:
        assert response.headers["content-type"] == "application/json"
        assert json.loads(response.body) == {"error": "full; wait", "code": "overloaded", "request_id": "r-1"}
    else:
        assert response.headers["content-type"] == "application/problem+json"


def test_answer_of_an_overload_says_when_to_come_back(request_: Request) -> None:
    assert answer_problem(request_, OverloadedError("full")).headers["retry-after"] == "1"


def test_answer_of_an_http_error_keeps_its_headers(request_: Request) -> None:
    response = answer_problem(request_, HTTPException(405, headers={"Allow": "POST"}))

    assert response.headers["allow"] == "POST"
    assert json.loads(response.body)["code"] == "method_not_allowed"
