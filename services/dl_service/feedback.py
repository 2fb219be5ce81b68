"""Opinions of predictions as they come in over HTTP: read strictly, checked against the version's classes, kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from onsight.db import (
    Database,
    LabelDecision,
    Opinion,
    PredictionRecord,
    decide_label,
    find_opinion_problem,
    insert_opinions,
    new_opinion,
    read_opinions,
)
from services.dl_service.errors import FeedbackRequestError, UnknownClassError
from services.dl_service.lookups import PredictionLookup

__all__ = ["FeedbackCreate", "FeedbackDesk", "KnownFeedback", "parse_feedback"]

_MOST_LABELS = 1000
_MOST_NAMED = 100
_HINT = 'send JSON such as {"label": "defective"}'
_Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class FeedbackCreate(BaseModel):
    """What a prediction should have been, by one person."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"label": "defective"},
                {"label": "functional", "who": "ann", "when": "2026-03-01T12:00:00Z"},
                {"labels": ["cracked", "dirty"], "who": "ann", "source": "review"},
            ]
        },
    )

    label: _Label | None = Field(None, description="the class; either this or `labels`")
    labels: list[_Label] | None = Field(
        None, max_length=_MOST_LABELS, description="the classes, for a multi-label model; may be empty"
    )
    who: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="who labelled: the API key's name unless given",
    )
    when: AwareDatetime | None = Field(None, description="when it was labelled, with its zone: now unless given")
    source: Literal["feedback", "review"] = Field(
        "feedback", description="`review`: the image was labelled because the review queue chose it"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.label is None) == (self.labels is None):
            raise ValueError("give either label or labels")
        return self

    def names(self) -> list[str]:
        """The classes."""
        return [self.label] if self.label is not None else list(self.labels or ())


def parse_feedback(body: bytes) -> FeedbackCreate:
    """A request's body.

    Raises:
        FeedbackRequestError: Not what the route asks for; every problem is named.
    """
    try:
        return FeedbackCreate.model_validate_json(body)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors()]
        raise FeedbackRequestError("; ".join(wrong)[:2000], _HINT) from error


@dataclass(frozen=True)
class KnownFeedback:
    """A prediction, and what people say of it.

    Attributes:
        opinions: Oldest first.
    """

    prediction: PredictionRecord
    opinions: tuple[Opinion, ...]
    decision: LabelDecision


@dataclass(frozen=True)
class FeedbackDesk:
    """Takes opinions and tells them. Everything blocks: call it from a thread."""

    database: Database
    lookup: PredictionLookup

    def take(self, prediction_id: str, given: FeedbackCreate, asked_by: str) -> KnownFeedback:
        """Keeps an opinion; one that is known already stays as it is.

        Args:
            prediction_id: Of a prediction on record, or in the outbox.
            given: The request.
            asked_by: Who labelled, if the request does not say.

        Raises:
            PredictionIdError: The id has not the form of one.
            UnknownPredictionError: There is no such prediction, or it is on its way.
            UnknownModelError: The version is no longer in storage, so that its classes are not known.
            UnknownClassError: The version that answered has no such class.
            FeedbackRequestError: The opinion cannot be kept.
            DependencyError: The database does not answer; nothing was written.
        """
        record = self.lookup.find(prediction_id)
        metadata = self.lookup.metadata(record)
        at = given.when or datetime.now(UTC)
        names = given.names()
        if unknown := [name for name in names if name not in metadata.classes]:
            raise UnknownClassError(
                f"{metadata.bundle_name}, which answered, has no class {', '.join(unknown)[:500]}",
                f"its classes are {_name_some(metadata.classes)}",
            )
        try:
            opinion = new_opinion(record.prediction_id, names, given.who or asked_by, at, given.source)
        except ValueError as error:
            raise FeedbackRequestError(str(error), _HINT) from error
        if problem := find_opinion_problem(opinion, is_multi_label=metadata.classifier_type == "multi-label"):
            raise FeedbackRequestError(problem, _HINT)
        insert_opinions(self.database, [opinion])
        return self._known(record)

    def tell(self, prediction_id: str) -> KnownFeedback:
        """What people say of a prediction.

        Raises:
            PredictionIdError: The id has not the form of one.
            UnknownPredictionError: There is no such prediction, or it is on its way.
            DependencyError: The database does not answer.
        """
        return self._known(self.lookup.find(prediction_id))

    def _known(self, record: PredictionRecord) -> KnownFeedback:
        opinions = tuple(read_opinions(self.database, record.prediction_id))
        return KnownFeedback(record, opinions, decide_label(opinions))


def _name_some(classes: tuple[str, ...]) -> str:
    more = len(classes) - _MOST_NAMED
    return ", ".join(classes[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
