"""Opinions in real Postgres and SQLite: several of one prediction, sent twice, sent by many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from onsight.db import (
    Database,
    Opinion,
    PredictionRecord,
    decide_label,
    find_versions,
    insert_opinions,
    insert_records,
    new_opinion,
    open_database,
    read_opinions,
    upgrade,
    uuid7,
)
from onsight.errors import DependencyError, OnsightError
from tests.servers.postgres import PostgresServer

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def opinion(prediction_id: str, who: str, *labels: str, minutes: int = 0) -> Opinion:
    return new_opinion(prediction_id, labels, who, NOON + timedelta(minutes=minutes), "feedback")


def test_opinions_when_several_are_written_then_all_are_read_oldest_first(database: Database) -> None:
    one, other = uuid7(), uuid7()
    given = [
        opinion(one, "ann", "a"),
        opinion(one, "bob", "b", minutes=1),
        opinion(one, "ann", "b", "c", minutes=2),
        opinion(one, "cid", minutes=3),
    ]

    assert insert_opinions(database, [*given[::-1], opinion(other, "ann", "a")]) == 5

    assert read_opinions(database, one) == given
    assert len(read_opinions(database, other)) == 1
    assert read_opinions(database, uuid7()) == []


def test_opinions_when_sent_twice_then_are_kept_once(database: Database) -> None:
    prediction_id = uuid7()
    first, second = opinion(prediction_id, "ann", "a"), opinion(prediction_id, "bob", "a")
    assert insert_opinions(database, [first, first]) == 1

    assert insert_opinions(database, [first, second]) == 1
    assert insert_opinions(database, []) == 0

    assert len(read_opinions(database, prediction_id)) == 2


def test_opinions_when_many_send_the_same_at_once_then_are_kept_once(database: Database) -> None:
    prediction_id = uuid7()
    given = [opinion(prediction_id, f"person {n}", "a") for n in range(20)]

    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(lambda _: insert_opinions(database, given), range(4)))

    assert sum(counts) == 20
    assert decide_label(read_opinions(database, prediction_id)).n_people == 20


def test_opinions_when_more_than_one_statement_takes_then_all_or_none_are_written(database: Database) -> None:
    ids = [uuid7() for _ in range(2000)]
    wrong = replace(opinion(ids[-1], "ann", "a"), labelled_by=None)  # type: ignore[arg-type]

    with pytest.raises(OnsightError, match="refused"):
        insert_opinions(database, [*(opinion(one, "ann", "a") for one in ids), wrong])

    assert insert_opinions(database, [opinion(one, "ann", "a") for one in ids]) == 2000


def test_opinions_when_the_server_is_down_then_says_so(stoppable_postgres: PostgresServer) -> None:
    database = open_database(stoppable_postgres.create_database())
    upgrade(database)
    stoppable_postgres.stop()

    with pytest.raises(DependencyError, match="does not answer"):
        insert_opinions(database, [opinion(uuid7(), "ann", "a")])
    database.close()


def test_find_versions_when_some_are_unknown_then_gives_the_others(database: Database) -> None:
    ids = [uuid7() for _ in range(1000)]
    insert_records(database, [_prediction(one, 1 + index % 2) for index, one in enumerate(ids)])

    found = find_versions(database, [*ids, uuid7()])

    assert found == {one: ("cells", 1 + index % 2) for index, one in enumerate(ids)}


def _prediction(prediction_id: str, version: int) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=prediction_id,
        request_id="request",
        model_name="cells",
        model_version=version,
        created_at=NOON,
        probabilities=[0.25, 0.75],
        top_class="b",
        confidence=0.75,
        uae_feats=[0.1],
        bbsd_feats=[0.25, 0.75],
        image_sha256="0" * 64,
        image_bytes=1000,
        image_width=300,
        image_height=200,
        image_format="PNG",
        client="127.0.0.1",
        timings_ms={},
    )
