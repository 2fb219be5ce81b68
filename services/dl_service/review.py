"""The review queue as people work through it: what waits, and what one of them says of it. No HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from onsight.db import (
    Database,
    Opinion,
    WaitingItem,
    count_open_review_items,
    decide_review_item,
    find_opinion_problem,
    find_review_item,
    is_prediction_id,
    new_opinion,
    open_review_items,
)
from onsight.domain import BundleMetadata
from onsight.errors import OnsightError
from services.dl_service.errors import (
    FeedbackRequestError,
    PredictionIdError,
    ReviewClosedError,
    UnknownClassError,
    UnknownReviewItemError,
)
from services.dl_service.lookups import PredictionLookup

__all__ = ["ReviewDecide", "ReviewDesk", "ShownItem", "parse_decision"]

_MOST_LABELS = 1000
_HINT = 'send JSON such as {"label": "defective"} or {"skip": true}'
_Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ReviewDecide(BaseModel):
    """What a person says of an item."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"label": "defective"}, {"labels": ["cracked"], "who": "ann"}, {"skip": True}]},
    )

    label: _Label | None = Field(None, description="the class")
    labels: list[_Label] | None = Field(
        None, max_length=_MOST_LABELS, description="the classes, for a multi-label model; may be empty"
    )
    skip: Literal[True] | None = Field(None, description="nobody can tell: the item is closed without a label")
    who: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="who decides: the API key's name unless given",
    )

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if sum(given is not None for given in (self.label, self.labels, self.skip)) != 1:
            raise ValueError("give one of label, labels and skip")
        return self

    def names(self) -> list[str]:
        """The classes."""
        return [self.label] if self.label is not None else list(self.labels or ())


def parse_decision(body: bytes) -> ReviewDecide:
    """A request's body.

    Raises:
        FeedbackRequestError: Not what the route asks for; every problem is named.
    """
    try:
        return ReviewDecide.model_validate_json(body)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors()]
        raise FeedbackRequestError("; ".join(wrong)[:2000], _HINT) from error


@dataclass(frozen=True)
class ShownItem:
    """An open item, with what the version that answered is.

    Attributes:
        metadata: None: the version is no longer in storage, and its classes are not known.
    """

    waiting: WaitingItem
    metadata: BundleMetadata | None


@dataclass(frozen=True)
class ReviewDesk:
    """Hands items out and takes decisions. Everything blocks: call it from a thread."""

    database: Database
    lookup: PredictionLookup

    def show(self, limit: int) -> tuple[Sequence[ShownItem], int]:
        """Some items, and how many wait in all.

        Raises:
            DependencyError: The database does not answer.
        """
        waiting = open_review_items(self.database, limit)
        names = dict.fromkeys(_bundle_name(one.item.model_name, one.item.model_version) for one in waiting)
        known = {name: self._metadata_or_none(name) for name in names}
        shown = [ShownItem(one, known[_bundle_name(one.item.model_name, one.item.model_version)]) for one in waiting]
        return shown, count_open_review_items(self.database)

    def decide(self, prediction_id: str, given: ReviewDecide, asked_by: str) -> int:
        """Closes an item, with or without a label.

        Args:
            prediction_id: Of the item.
            given: The request.
            asked_by: Who decides, if the request does not say.

        Returns:
            How many items wait after that.

        Raises:
            PredictionIdError: The id has not the form of one.
            UnknownReviewItemError: The prediction was never chosen for review.
            ReviewClosedError: Somebody has decided already.
            UnknownModelError: The version is no longer in storage, so that its classes are not known.
            UnknownClassError: The version that answered has no such class.
            FeedbackRequestError: The opinion cannot be kept.
            DependencyError: The database does not answer; nothing was written.
        """
        prediction_id = prediction_id.lower()
        if not is_prediction_id(prediction_id):
            raise PredictionIdError(f"{prediction_id[:100]!r} is no prediction_id", "it is a UUID, as /review gave it")
        item = find_review_item(self.database, prediction_id)
        if item is None:
            raise UnknownReviewItemError(
                f"prediction {prediction_id} was never chosen for review", "GET /review names those that were"
            )
        by, opinion = given.who or asked_by, None
        if given.skip is None:
            metadata = self.lookup.metadata_for(_bundle_name(item.model_name, item.model_version))
            opinion = _opinion(prediction_id, given.names(), by, metadata)
        if not decide_review_item(self.database, prediction_id, by, opinion):
            raise _closed(self.database, prediction_id)
        return count_open_review_items(self.database)

    def _metadata_or_none(self, bundle_name: str) -> BundleMetadata | None:
        try:
            return self.lookup.metadata_for(bundle_name)
        except OnsightError:
            return None


def _opinion(prediction_id: str, names: Sequence[str], by: str, metadata: BundleMetadata) -> Opinion:
    opinion = new_opinion(prediction_id, names, by, datetime.now(UTC), "review")
    if unknown := [name for name in opinion.labels if name not in metadata.classes]:
        raise UnknownClassError(
            f"{metadata.bundle_name}, which answered, has no class {', '.join(unknown)[:500]}",
            "GET /review names its classes",
        )
    if problem := find_opinion_problem(opinion, is_multi_label=metadata.classifier_type == "multi-label"):
        raise FeedbackRequestError(problem, _HINT)
    return opinion


def _closed(database: Database, prediction_id: str) -> ReviewClosedError:
    item = find_review_item(database, prediction_id)
    by = f" by {item.decided_by}" if item and item.decided_by else ""
    return ReviewClosedError(
        f"the item of prediction {prediction_id} is closed{by}",
        "go on with the next one; another opinion can be sent to POST /feedback",
        prediction_id=prediction_id,
    )


def _bundle_name(model_name: str, model_version: int) -> str:
    return f"{model_name}-v{model_version}"
