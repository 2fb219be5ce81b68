"""What a person says a prediction should have been, and what several people say together. Pure: no database here."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import orjson

__all__ = ["LabelDecision", "Opinion", "OpinionSource", "decide_label", "find_opinion_problem", "new_opinion"]

# How the label came: review labels are of images that were chosen because the answer looked doubtful.
OpinionSource = Literal["feedback", "import", "review"]

_PERSON = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCK_SLACK = timedelta(minutes=5)
_RANDOM_BITS = 62


@dataclass(frozen=True)
class Opinion:
    """One person's opinion of one prediction.

    Attributes:
        feedback_id: Version 7 UUID, made of the rest: the same opinion has the same one, however often it is sent.
        labels: Class names, sorted: one for a multi-class model, any number for a multi-label one.
        labelled_at: UTC.
    """

    feedback_id: str
    prediction_id: str
    labels: tuple[str, ...]
    labelled_by: str
    labelled_at: datetime
    source: OpinionSource


@dataclass(frozen=True)
class LabelDecision:
    """What people say together.

    Attributes:
        labels: None while as many people say one thing as another.
        n_people: Whose newest opinions were counted.
    """

    labels: tuple[str, ...] | None
    n_people: int

    @property
    def is_disputed(self) -> bool:
        """Whether there are opinions and no decision."""
        return self.labels is None and self.n_people > 0


def new_opinion(
    prediction_id: str, labels: Iterable[str], labelled_by: str, labelled_at: datetime, source: OpinionSource
) -> Opinion:
    """An opinion with its id; see ``find_opinion_problem`` for what it must hold.

    Raises:
        ValueError: A time without a zone.
    """
    if labelled_at.tzinfo is None:
        raise ValueError(f"a time without a zone: {labelled_at!r}")
    names, at = tuple(sorted(set(labels))), labelled_at.astimezone(UTC)
    content = orjson.dumps([prediction_id, names, labelled_by, at])
    rest = int.from_bytes(hashlib.sha256(content).digest()) >> (256 - 12 - _RANDOM_BITS)
    milliseconds = int(at.timestamp() * 1000)
    high, low = rest >> _RANDOM_BITS, rest & ((1 << _RANDOM_BITS) - 1)
    feedback_id = uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << _RANDOM_BITS | low)
    return Opinion(str(feedback_id), prediction_id, names, labelled_by, at, source)


def find_opinion_problem(opinion: Opinion, *, is_multi_label: bool) -> str:
    """What is wrong with an opinion, beside names that are no classes; empty when nothing is."""
    if not _PERSON.fullmatch(opinion.labelled_by):
        return "who labelled must be 1 to 128 characters, without control characters"
    if not is_multi_label and len(opinion.labels) != 1:
        return f"a multi-class model's images have one class each, not {len(opinion.labels)}"
    if not _EARLIEST <= opinion.labelled_at <= datetime.now(UTC) + _CLOCK_SLACK:
        return f"the time {opinion.labelled_at.isoformat()} lies in the future, or before the year 2000"
    return ""


def decide_label(opinions: Sequence[Opinion]) -> LabelDecision:
    """What most people say of one prediction, each by the newest opinion; of two that most say, neither.

    Args:
        opinions: Of one prediction, in any order.
    """
    ordered = sorted(opinions, key=lambda opinion: (opinion.labelled_at, opinion.feedback_id))
    newest = {opinion.labelled_by: opinion.labels for opinion in ordered}
    counted = Counter(newest.values()).most_common(2)
    is_tie = len(counted) > 1 and counted[0][1] == counted[1][1]
    return LabelDecision(counted[0][0] if counted and not is_tie else None, len(newest))
