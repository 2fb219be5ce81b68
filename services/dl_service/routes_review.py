"""``/review``: the predictions that wait for a person, and what the person says of each."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from services.dl_service.json_bodies import describe_json_body, receive_json
from services.dl_service.requests import client_of
from services.dl_service.review import ReviewDecide, ReviewDesk, ShownItem, parse_decision
from services.dl_service.schemas import problem_responses
from services.dl_service.state import Service, ServiceState

__all__ = ["ReviewDecidedResponse", "ReviewItemResponse", "ReviewResponse", "router"]

router = APIRouter(prefix="/review", tags=["review"])

_PROBLEMS = problem_responses(
    {
        400: "malformed_body",
        404: "unknown_review_item, unknown_model",
        408: "receive_timeout",
        409: "review_closed",
        413: "body_too_large",
        422: "invalid_prediction_id, invalid_feedback, unknown_class, bundle_refused",
        503: "dependency_down, storage_failed, overloaded",
    }
)
_BODY = describe_json_body(ReviewDecide)
_ID = "019a8f2e-6c1b-7a40-8d2f-3b9e6f1c2d47"
PredictionId = Annotated[str, Path(description="as GET /review gave it", examples=[_ID])]


class _Schema(BaseModel):
    model_config = ConfigDict(protected_namespaces=(), frozen=True)


class ReviewItemResponse(_Schema):
    """A prediction that waits for a person. Its image and heat map are below `/predictions/{prediction_id}`."""

    prediction_id: str
    model_name: str
    model_version: int
    reason: Literal["uncertain", "drifted", "disputed"]
    score: float = Field(description="how strongly the reason holds; comparable within one reason")
    chosen_at: datetime
    top_class: str
    prediction: dict[str, float] | None = Field(
        description="probability by class, in the order of the version's classes; null: it is no longer in storage"
    )
    classes: list[str] = Field(description="those that it can be labelled with")
    classifier_type: Literal["multi-class", "multi-label"] | None


class ReviewResponse(_Schema):
    """What waits."""

    items: list[ReviewItemResponse]
    n_open: int = Field(description="that wait in all")


class ReviewDecidedResponse(_Schema):
    """An item that was closed."""

    prediction_id: str
    n_open: int = Field(description="that wait after this one")


@router.get("", responses=problem_responses({422: "invalid_request", 503: "dependency_down"}))
async def review(
    service: Service, limit: Annotated[int, Query(ge=1, le=100, description="of the items named")] = 20
) -> ReviewResponse:
    """The items to look at next: the newest choice first, its reasons in turn, the strongest first."""
    shown, n_open = await asyncio.to_thread(_desk(service).show, limit)
    return ReviewResponse(items=[_describe(item) for item in shown], n_open=n_open)


@router.post("/{prediction_id}", responses=_PROBLEMS, openapi_extra=_BODY)
async def decide(request: Request, service: Service, prediction_id: PredictionId) -> ReviewDecidedResponse:
    """Label an item, or skip it. It is closed with that; whoever comes second gets 409 `review_closed`."""
    given = parse_decision(await receive_json(request, service))
    n_open = await asyncio.to_thread(_desk(service).decide, prediction_id, given, client_of(request.scope))
    return ReviewDecidedResponse(prediction_id=prediction_id.lower(), n_open=n_open)


def _desk(service: ServiceState) -> ReviewDesk:
    return ReviewDesk(service.database, service.lookup)


def _describe(shown: ShownItem) -> ReviewItemResponse:
    item, metadata = shown.waiting.item, shown.metadata
    classes = list(metadata.classes) if metadata is not None else []
    probabilities = shown.waiting.probabilities
    named = dict(zip(classes, probabilities, strict=True)) if len(classes) == len(probabilities) else None
    return ReviewItemResponse.model_validate(
        {
            "prediction_id": item.prediction_id,
            "model_name": item.model_name,
            "model_version": item.model_version,
            "reason": item.reason,
            "score": item.score,
            "chosen_at": item.chosen_at,
            "top_class": shown.waiting.top_class,
            "prediction": named,
            "classes": classes,
            "classifier_type": metadata.classifier_type if metadata is not None else None,
        }
    )
