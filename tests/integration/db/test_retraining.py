"""Decisions of the retraining policy in the database: the history read back, and one training at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from onsight.config import RetrainingConfig
from onsight.db import (
    Database,
    DecisionRecord,
    DriftAlert,
    DriftAlertRow,
    PastRetraining,
    RetrainingRow,
    ReviewItemRow,
    ServedVersion,
    claim_retraining,
    note_dataset_tag,
    open_database,
    record_decision,
    record_desired,
    retraining_history,
    upgrade,
    uuid7,
)
from onsight.errors import DataGateError, PromotionGateError
from onsight.retraining import RetrainingRequest, recorded_training, rule
from tests.servers.postgres import PostgresServer

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def record(decided_at: datetime = NOW, model_name: str = "cells") -> DecisionRecord:
    return DecisionRecord(decided_at, model_name, 2, True, ["met: drift"], 3, "flow-run")


def add_alert(database: Database, raised_at: datetime, version: int = 1, model_name: str = "cells") -> None:
    values = {"run_id": uuid7(), "raised_at": raised_at, "model_name": model_name, "model_version": version}
    with database.transaction() as connection:
        connection.execute(insert(DriftAlertRow).values(values | {"cause": "brightness", "report": "report.html"}))


def add_item(database: Database, decided_at: datetime | None, status: str, model_name: str = "cells") -> None:
    values = {
        "prediction_id": uuid7(),
        "model_name": model_name,
        "model_version": 1,
        "reason": "uncertain",
        "score": 0.5,
        "chosen_at": NOW - DAY,
        "status": status,
        "decided_by": "kim" if decided_at else None,
        "decided_at": decided_at,
    }
    with database.transaction() as connection:
        connection.execute(insert(ReviewItemRow).values(values))


def rows(database: Database) -> list[Any]:
    with database.transaction() as connection:
        return list(connection.execute(select(*RetrainingRow.__table__.c).order_by(RetrainingRow.seq)).all())


def test_retraining_history_gives_the_models_own_events_in_order(database: Database) -> None:
    add_alert(database, NOW - DAY)
    add_alert(database, NOW - 2 * DAY)
    add_alert(database, NOW, model_name="cracks")
    for decided_at, status in (
        (NOW, "labelled"), (NOW - DAY, "labelled"), (NOW - 2 * DAY, "excluded"), (NOW, "skipped"), (None, "open"),
    ):  # fmt: skip
        add_item(database, decided_at, status)
    add_item(database, NOW, "labelled", model_name="cracks")
    wish = record_desired(database, "cells", 1, requested_by="kim", reason="")
    other = record_desired(database, "cracks", 7, requested_by="kim", reason="")
    seq = claim_retraining(database, record(), DAY)
    assert seq is not None
    note_dataset_tag(database, seq, "v2.1.0")
    record_decision(database, DecisionRecord(NOW, "cells", 2, False, ["not met"], 0), "not fired")

    history = retraining_history(database, "cells")

    assert history.alerts == (DriftAlert(NOW - 2 * DAY, 1), DriftAlert(NOW - DAY, 1))
    assert history.labels == (NOW - 2 * DAY, NOW - DAY, NOW)
    assert history.served == (ServedVersion(wish.requested_at, 1), ServedVersion(other.requested_at, 0, "cracks"))
    assert history.retrainings == (PastRetraining(NOW, "running", "v2.1.0"),)


def test_claim_retraining_when_several_ask_at_once_then_one_gets_it(empty_url: str, database: Database) -> None:
    def ask(_: int) -> int | None:
        own = open_database(empty_url)
        try:
            return claim_retraining(own, record(), DAY)
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        claimed = [seq for seq in pool.map(ask, range(24)) if seq is not None]

    assert len(claimed) == 1
    assert [(row.seq, row.outcome) for row in rows(database)] == [(claimed[0], "running")]


def test_claim_retraining_when_another_model_trains_then_both_do(database: Database) -> None:
    assert claim_retraining(database, record(), DAY)
    assert claim_retraining(database, record(model_name="cracks"), DAY)


def test_claim_retraining_when_the_other_is_stale_then_gives_it_up(database: Database) -> None:
    assert claim_retraining(database, record(NOW - 2 * DAY), DAY)

    assert claim_retraining(database, record(), DAY)

    assert [row.outcome for row in rows(database)] == ["abandoned: no outcome within 1 day, 0:00:00", "running"]


def test_rule_when_it_fires_then_claims_and_the_next_waits_for_the_outcome(database: Database) -> None:
    record_desired(database, "cells", 1, requested_by="kim", reason="")
    now = datetime.now(UTC)
    add_alert(database, now)
    request = RetrainingRequest("cells", RetrainingConfig(cool_down_h=0), "flow-run-1")

    first = rule(database, request, now)
    second = rule(database, request, now + timedelta(minutes=1))

    assert first.claim is not None
    assert first.claim.bundle_name == "cells-v1"
    assert second.claim is None
    with recorded_training(database, first.claim.seq) as training:
        training.promoted("cells-v2")
    third = rule(database, request, now + timedelta(minutes=2))
    assert third.claim is None
    found = rows(database)
    assert [(row.fired, row.outcome, row.flow_run_id) for row in found] == [
        (True, "promoted: cells-v2", "flow-run-1"),
        (False, "not fired", "flow-run-1"),
        (False, "not fired", "flow-run-1"),
    ]
    assert found[0].reasons == list(first.decision.reasons)
    assert any("one since" in reason for reason in found[1].reasons)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (
            PromotionGateError("it did not pass", reasons=["accuracy 0.7 < 0.8", "too few"]),
            "refused: accuracy 0.7",
        ),
        (DataGateError("did not pass validation", hint="mend"), "failed: did not pass validation"),
        (ValueError("x" * 900), "failed: ValueError: xxx"),
        (KeyboardInterrupt(), "failed: KeyboardInterrupt"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_recorded_training_when_it_fails_then_says_why_and_raises(
    database: Database, error: BaseException, outcome: str
) -> None:
    seq = claim_retraining(database, record(), DAY)
    assert seq is not None
    with pytest.raises(type(error)), recorded_training(database, seq):
        raise error
    (row,) = rows(database)
    assert row.outcome.startswith(outcome)
    assert len(row.outcome) <= 500


def test_recorded_training_when_the_database_goes_away_then_the_first_error_is_told(
    stoppable_postgres: PostgresServer,
) -> None:
    database = open_database(stoppable_postgres.create_database())
    upgrade(database)
    seq = claim_retraining(database, record(), DAY)
    assert seq is not None
    with pytest.raises(DataGateError), recorded_training(database, seq):
        _fail_while_down(stoppable_postgres)
    stoppable_postgres.start()
    assert [row.outcome for row in rows(database)] == ["running"]
    database.close()


def _fail_while_down(server: PostgresServer) -> None:
    server.stop()
    raise DataGateError("did not pass validation")
