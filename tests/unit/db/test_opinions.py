"""One person's opinion, and what several people say together."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from onsight.db import LabelDecision, Opinion, decide_label, find_opinion_problem, new_opinion, uuid7

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
PREDICTION = uuid7()


def opinion(label: str | tuple[str, ...], who: str = "ann", hours: float = 0) -> Opinion:
    labels = (label,) if isinstance(label, str) else label
    return new_opinion(PREDICTION, labels, who, NOON + timedelta(hours=hours), "feedback")


def test_new_opinion_when_made_twice_then_has_the_same_time_ordered_id() -> None:
    first, later = opinion("a"), opinion("a", hours=1)

    made = uuid.UUID(first.feedback_id)
    assert first == opinion("a")
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(NOON.timestamp() * 1000)
    assert first.feedback_id < later.feedback_id
    assert len({one.feedback_id for one in (first, later, opinion("b"), opinion("a", "bob"))}) == 4


def test_new_opinion_when_given_in_another_zone_and_order_then_is_the_same() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))

    assert new_opinion(PREDICTION, ["b", "a", "b"], "ann", elsewhere, "feedback") == opinion(("a", "b"))


@pytest.mark.parametrize(
    ("opinions", "labels", "n_people"),
    [
        ([], None, 0),
        ([opinion("a")], ("a",), 1),
        ([opinion("a"), opinion("b", "bob")], None, 2),
        ([opinion("a"), opinion("b", "bob"), opinion("b", "cid")], ("b",), 3),
        ([opinion("b", hours=2), opinion("a", hours=1)], ("b",), 1),
        ([opinion("a"), opinion("b", "bob"), opinion("b", hours=1)], ("b",), 2),
        ([opinion("a", f"p{n}") for n in range(2)] + [opinion("b", "q"), opinion("c", "r")], ("a",), 4),
        ([opinion(()), opinion((), "bob"), opinion("a", "cid")], (), 3),
    ],
    ids=["none", "one", "tie", "majority", "newest-of-one", "changed-mind", "most-but-not-half", "no-class"],
)
def test_decide_label_when_people_differ_then_most_of_their_newest_opinions_win(
    opinions: list[Opinion], labels: tuple[str, ...] | None, n_people: int
) -> None:
    decision = decide_label(opinions[::-1])

    assert decision == LabelDecision(labels, n_people)
    assert decision.is_disputed == (labels is None and n_people > 0)


@pytest.mark.parametrize(
    ("who", "when", "said"),
    [
        ("", NOON, "1 to 128"),
        ("x" * 129, NOON, "1 to 128"),
        ("a\0b", NOON, "control"),
        ("ann", datetime(2024, 3, 1), "no zone"),  # noqa: DTZ001
        ("ann", datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))), "future"),
        ("ann", datetime.now(UTC) + timedelta(days=2), "future"),
        ("ann", datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "before the year 2000"),
    ],
    ids=["nobody", "long-name", "nul", "no-zone", "far-future", "future", "long-ago"],
)
def test_new_opinion_when_the_name_or_the_time_cannot_be_then_says_which(who: str, when: datetime, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        new_opinion(PREDICTION, ["a"], who, when, "feedback")


def test_find_opinion_problem_when_the_model_is_multi_class_then_wants_one_label() -> None:
    problems = [find_opinion_problem(opinion(labels), is_multi_label=False) for labels in ((), ("a",), ("a", "b"))]

    assert [problem.rpartition(" ")[2] for problem in problems] == ["0", "", "2"]
    assert find_opinion_problem(opinion(()), is_multi_label=True) == ""
