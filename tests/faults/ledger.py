"""Acknowledged predictions against the rows of the database: none missing, none doubled, none that nobody asked for."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import select

from onsight.db import ApiCallRow, Database, PredictionRow, open_database
from tests.faults.load import Answered, Load

SHIPPED_WITHIN_S = 120.0


@dataclass(frozen=True)
class Ledger:
    """What the database holds in the end.

    Attributes:
        missing: Acknowledged, and not there.
        missing_calls: Acknowledged, and without a row in ``api_log``.
        doubled: Requests with more than one row.
        different: Rows that say something else than the answer said.
        strange: Rows of requests that were refused or never sent.
        unseen: Rows of requests whose client got no answer: right, but nobody knows of them.
    """

    rows: int
    missing: int
    missing_calls: int
    doubled: int
    different: int
    strange: int
    unseen: int


def settle(
    url: str, load: Load, timeout_s: float = SHIPPED_WITHIN_S, *, may_miss: bool = False, is_shared: bool = False
) -> Ledger:
    """Waits until the acknowledged predictions are there, then looks at all of them.

    Args:
        may_miss: Rows may be missing: do not wait for them for ever.
        is_shared: The database holds what others asked for, too.
    """
    database = open_database(url)
    try:
        deadline_s = time.monotonic() + timeout_s
        before = -1
        while True:
            ledger = _compare(database, load, load.name if is_shared else "")
            is_settled = may_miss and ledger.rows == before
            if not (ledger.missing or ledger.missing_calls) or is_settled or time.monotonic() > deadline_s:
                return ledger
            before = ledger.rows
            time.sleep(2)
    finally:
        database.close()


def _compare(database: Database, load: Load, prefix: str) -> Ledger:
    row = PredictionRow
    predictions = select(row.request_id, row.prediction_id, row.model_version, row.probabilities)
    predictions = predictions.where(row.request_id.startswith(prefix))
    calls = select(ApiCallRow.request_id).where(ApiCallRow.route == "/predict", ApiCallRow.status == 200)
    calls = calls.where(ApiCallRow.request_id.startswith(prefix))
    with database.transaction() as connection:
        found = [
            (str(request_id), Answered(str(prediction_id), version, tuple(probabilities)))
            for request_id, prediction_id, version, probabilities in connection.execute(predictions)
        ]
        called = Counter(connection.execute(calls).scalars())
    times = Counter(request_id for request_id, _ in found)
    rows = dict(found)
    unanswered = {one.request_id for one in load.broken}
    extra = set(rows) - set(load.acknowledged)
    shared = set(rows) & set(load.acknowledged)
    return Ledger(
        rows=len(found),
        missing=len(set(load.acknowledged) - set(rows)),
        missing_calls=len(set(load.acknowledged) - set(called)),
        doubled=sum(n > 1 for n in times.values()) + sum(n > 1 for n in called.values()),
        different=sum(not _is_same(rows[one], load.acknowledged[one]) for one in shared),
        strange=len(extra - unanswered),
        unseen=len(extra & unanswered),
    )


def _is_same(row: Answered, answer: Answered) -> bool:
    close = all(abs(a - b) < 1e-9 for a, b in zip(row.probabilities, answer.probabilities, strict=True))
    return close and (row.prediction_id, row.version) == (answer.prediction_id, answer.version)
