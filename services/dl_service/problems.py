"""From errors to answers: one table, and `application/problem+json` (RFC 9457) with a stable ``code``.

Below ``/v2`` the Open Inference Protocol wants errors in a form of its own, which carries the same code.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from onsight import errors as library
from onsight.db import RefusedRecordError
from services.dl_service import errors as service

__all__ = ["NOT_MET_BY_SERVICE", "PROBLEMS", "Problem", "answer_problem", "describe_problem", "problem_of"]

_LOG = logging.getLogger(__name__)
_OPEN_INFERENCE_PATH = "/v2"
# What an answer of this status carries beside its document.
_HEADERS: Mapping[int, Mapping[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "1"},
}


@dataclass(frozen=True)
class Problem:
    """How an error is answered.

    Attributes:
        code: Stable: clients may branch on it.
        shows_detail: Whether the error's own message is for the client; otherwise it is for the log alone.
        may_pass: Whether the same request may succeed in a moment, as after every 503.
    """

    status: int
    code: str
    title: str
    shows_detail: bool = True
    may_pass: bool = False


INTERNAL = Problem(500, "internal_error", "The service failed", shows_detail=False)
INVALID = Problem(422, "invalid_request", "The request does not have the form that the route asks for")

PROBLEMS: dict[type[library.OnsightError], Problem] = {
    library.OnsightError: INTERNAL,
    library.UnreadableImageError: Problem(422, "unreadable_image", "The image cannot be read"),
    library.UnsupportedImageError: Problem(415, "unsupported_image", "The image's format is not supported"),
    library.ImageTooLargeError: Problem(413, "image_too_large", "The image is too large"),
    library.ImageError: Problem(422, "unusable_image", "The image cannot be used"),
    library.BundleError: Problem(422, "bundle_refused", "The model's bundle was refused"),
    library.StorageError: Problem(503, "storage_failed", "The storage does not work", shows_detail=False),
    library.DependencyError: Problem(503, "dependency_down", "A server that is needed is down", shows_detail=False),
    service.BodyTooLargeError: Problem(413, "body_too_large", "The body is too large"),
    service.DeadlineError: Problem(503, "deadline_exceeded", "The answer was not ready in time"),
    service.ForbiddenError: Problem(403, "forbidden_scope", "The API key may not do this"),
    service.MalformedBodyError: Problem(400, "malformed_body", "The body cannot be parsed"),
    service.MissingFileError: Problem(422, "missing_file", "The body holds no image"),
    service.ModelNameError: Problem(422, "invalid_model_name", "Not the name of a model's metadata file"),
    service.NoModelError: Problem(503, "no_model", "The service has no model that answers"),
    service.NothingToRollBackError: Problem(409, "nothing_to_roll_back", "There is no earlier version"),
    service.ReviewClosedError: Problem(409, "review_closed", "Somebody else has decided this one"),
    service.UnknownReviewItemError: Problem(404, "unknown_review_item", "There is no such item to review"),
    service.RolledBackError: Problem(409, "rolled_back", "The version was taken back"),
    service.OverloadedError: Problem(503, "overloaded", "The service is overloaded"),
    service.ReceiveTimeoutError: Problem(408, "receive_timeout", "The body did not arrive in time"),
    service.UnauthorizedError: Problem(401, "unauthorized", "A valid API key is needed"),
    service.UnknownHostError: Problem(421, "unknown_host", "The service does not have this name"),
    service.UnknownModelError: Problem(404, "unknown_model", "There is no such model"),
    service.ExplainRequestError: Problem(422, "invalid_explain", "Not an explanation that can be asked for"),
    service.FeedbackRequestError: Problem(422, "invalid_feedback", "Not an opinion that can be kept"),
    service.ImageNotKeptError: Problem(404, "image_not_kept", "The prediction's image is not in the archive"),
    service.PredictionIdError: Problem(422, "invalid_prediction_id", "Not the id of a prediction"),
    service.InferRequestError: Problem(
        422, "invalid_inference_request", "Not the tensors that the model takes or gives"
    ),
    service.UnsupportedEncodingError: Problem(415, "unsupported_encoding", "The body is compressed"),
    service.UnexplainableError: Problem(422, "unexplainable_model", "The model cannot explain its answers"),
    service.UnknownClassError: Problem(422, "unknown_class", "The model has no such class"),
    service.UnknownPredictionError: Problem(404, "unknown_prediction", "There is no such prediction", may_pass=True),
}

# Leaves of the error trees that no request can bring about; should one appear all the same, it is an internal error.
NOT_MET_BY_SERVICE: frozenset[type[library.OnsightError]] = frozenset(
    {
        library.BundleExistsError,
        library.ConfigError,
        library.ConversionError,
        library.DataGateError,
        library.PromotionGateError,
        library.TrainingError,
        RefusedRecordError,
    }
)


def problem_of(error: library.OnsightError) -> Problem:
    """The table's entry for the error's class, or for the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return INTERNAL


def answer_problem(request: Request, error: Exception) -> Response:
    """The answer to a request that failed; what is not the client's doing is logged with all it says."""
    if isinstance(error, HTTPException):
        return _from_http(request, error)
    if isinstance(error, RequestValidationError):
        wrong = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        return _document(request, INVALID, "; ".join(wrong))
    if not isinstance(error, library.OnsightError):
        _LOG.exception("unforeseen error", exc_info=error)
        return _document(request, INTERNAL)
    problem = problem_of(error)
    return _respond(request, problem, describe_problem(request, error))


def describe_problem(request: Request, error: library.OnsightError) -> dict[str, Any]:
    """An error as a problem document; what is not the client's doing is logged with all it says."""
    problem = problem_of(error)
    if problem.shows_detail:
        return _describe(request, problem, error.message, error.hint)
    _LOG.error("%s: %s", problem.code, error, exc_info=error if problem is INTERNAL else None)
    return _describe(request, problem, hint="the service's log says more under this request_id")


def _from_http(request: Request, error: HTTPException) -> Response:
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    response = _document(request, Problem(error.status_code, code, phrase), f"{request.method} {request.url.path}")
    response.headers.update(error.headers or {})
    return response


def _document(request: Request, problem: Problem, detail: str = "") -> Response:
    return _respond(request, problem, _describe(request, problem, detail))


def _describe(request: Request, problem: Problem, detail: str = "", hint: str = "") -> dict[str, Any]:
    return {
        "type": f"urn:onsight:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": detail or problem.title,
        "hint": hint,
        "request_id": getattr(request.state, "request_id", ""),
    }


def _respond(request: Request, problem: Problem, document: dict[str, Any]) -> Response:
    request.state.code = problem.code
    headers = dict(_HEADERS.get(problem.status, {}))
    if problem.may_pass:
        headers["Retry-After"] = "1"
    if f"{request.url.path}/".startswith(f"{_OPEN_INFERENCE_PATH}/"):
        return Response(json.dumps(_open_inference_error(document)), problem.status, headers, "application/json")
    return Response(json.dumps(document), problem.status, headers, media_type="application/problem+json")


def _open_inference_error(document: Mapping[str, Any]) -> dict[str, Any]:
    error = "; ".join(text for text in (document["detail"], document["hint"]) if text)
    return {"error": error, "code": document["code"], "request_id": document["request_id"]}
