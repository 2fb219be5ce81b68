"""``/feedback/{prediction_id}``: what people say a prediction should have been."""

from __future__ import annotations

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from onsight.db import Opinion
from services.dl_service.feedback import FeedbackCreate, FeedbackDesk, KnownFeedback, parse_feedback
from services.dl_service.json_bodies import describe_json_body, receive_json
from services.dl_service.requests import client_of
from services.dl_service.schemas import problem_responses
from services.dl_service.state import Service, ServiceState

__all__ = ["FeedbackResponse", "OpinionResponse", "router"]

router = APIRouter(prefix="/feedback", tags=["feedback"])

_LOOKUP_PROBLEMS = {404: "unknown_prediction", 422: "invalid_prediction_id", 503: "dependency_down"}
_PROBLEMS = problem_responses(
    {
        400: "malformed_body",
        404: "unknown_prediction, unknown_model",
        408: "receive_timeout",
        413: "body_too_large",
        422: "invalid_prediction_id, invalid_feedback, unknown_class, bundle_refused",
        503: "dependency_down, storage_failed, overloaded",
    }
)
_BODY = describe_json_body(FeedbackCreate)
_ID = "019a8f2e-6c1b-7a40-8d2f-3b9e6f1c2d47"
PredictionId = Annotated[str, Path(description="as /predict gave it", examples=[_ID])]


class OpinionResponse(BaseModel):
    """One person's opinion."""

    model_config = ConfigDict(frozen=True)

    feedback_id: str = Field(description="version 7 UUID; the same opinion sent again has the same one")
    labels: list[str]
    labelled_by: str
    labelled_at: datetime
    source: Literal["feedback", "import", "review"]


class FeedbackResponse(BaseModel):
    """What people say of a prediction."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {
                    "prediction_id": _ID,
                    "model_name": "solar_cells",
                    "model_version": 3,
                    "top_class": "defective",
                    "labels": ["functional"],
                    "is_disputed": False,
                    "n_people": 1,
                    "opinions": [
                        {
                            "feedback_id": "019a8f31-0c80-7b1e-9c55-1f0e2d3c4b5a",
                            "labels": ["functional"],
                            "labelled_by": "ann",
                            "labelled_at": "2026-03-01T12:00:00Z",
                            "source": "feedback",
                        }
                    ],
                }
            ]
        },
    )

    prediction_id: str
    model_name: str
    model_version: int
    top_class: str = Field(description="what was answered")
    labels: list[str] | None = Field(description="what most people say; null: nobody has, or it is disputed")
    is_disputed: bool = Field(description="whether as many people say one thing as another")
    n_people: int = Field(description="whose newest opinions were counted")
    opinions: list[OpinionResponse] = Field(description="all of them, oldest first")


@router.post("/{prediction_id}", status_code=HTTPStatus.CREATED, responses=_PROBLEMS, openapi_extra=_BODY)
async def give_feedback(request: Request, service: Service, prediction_id: PredictionId) -> FeedbackResponse:
    """Say what a prediction should have been. Several people may, and one may change their mind: all is kept.

    The label that counts is what most people say, each by the newest opinion. The same opinion sent twice is kept once.
    """
    given = parse_feedback(await receive_json(request, service))
    known = await asyncio.to_thread(_desk(service).take, prediction_id, given, client_of(request.scope))
    return _describe(known)


@router.get("/{prediction_id}", responses=problem_responses(_LOOKUP_PROBLEMS))
async def feedback(service: Service, prediction_id: PredictionId) -> FeedbackResponse:
    """Every opinion of a prediction, and the label that they make together."""
    return _describe(await asyncio.to_thread(_desk(service).tell, prediction_id))


def _desk(service: ServiceState) -> FeedbackDesk:
    return FeedbackDesk(service.database, service.lookup)


def _describe(known: KnownFeedback) -> FeedbackResponse:
    record, labels = known.prediction, known.decision.labels
    return FeedbackResponse(
        prediction_id=record.prediction_id,
        model_name=record.model_name,
        model_version=record.model_version,
        top_class=record.top_class,
        labels=None if labels is None else list(labels),
        is_disputed=known.decision.is_disputed,
        n_people=known.decision.n_people,
        opinions=[_opinion(opinion) for opinion in known.opinions],
    )


def _opinion(opinion: Opinion) -> OpinionResponse:
    return OpinionResponse(
        feedback_id=opinion.feedback_id,
        labels=list(opinion.labels),
        labelled_by=opinion.labelled_by,
        labelled_at=opinion.labelled_at,
        source=opinion.source,
    )
