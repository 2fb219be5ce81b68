"""Rows that grow old: what goes, in batches, and what people and alerts keep."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select

from onsight.config import RowRetention
from onsight.db import (
    ApiCallRecord,
    ApiCallRow,
    Base,
    Database,
    DecisionRecord,
    DriftAlertRow,
    DriftResultRow,
    FeedbackRow,
    PredictionRecord,
    PredictionRow,
    RetrainingRow,
    ReviewItemRow,
    count_aged_rows,
    delete_aged_rows,
    insert_records,
    open_database,
    record_decision,
    record_desired,
    uuid7,
)
from onsight.errors import DependencyError
from onsight.image_archive import read_kept
from onsight.retention import age_rows, keep_images

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=400)


def prediction(created_at: datetime = OLD, digit: str = "0") -> PredictionRecord:
    values: dict[str, Any] = dict.fromkeys(PredictionRecord.__dataclass_fields__, 1)
    values |= {
        "prediction_id": uuid7(),
        "request_id": "request",
        "model_name": "cells",
        "created_at": created_at,
        "probabilities": [0.5, 0.5],
        "top_class": "ok",
        "confidence": 0.5,
        "uae_feats": [0.5],
        "bbsd_feats": [0.5],
        "image_sha256": digit * 64,
        "image_format": "PNG",
        "client": "127.0.0.1",
        "timings_ms": {},
    }
    optional = {name: None for name in values if name.startswith("image_") and name.endswith(("ness", "contrast"))}
    return PredictionRecord(**(values | optional))


def add(database: Database, row: type[Base], **values: object) -> None:
    with database.transaction() as connection:
        connection.execute(insert(row).values(values))


def add_feedback(database: Database, prediction_id: str) -> None:
    add(
        database, FeedbackRow, feedback_id=uuid7(), prediction_id=prediction_id, labels=["ok"],
        labelled_by="kim", labelled_at=OLD, source="api",
    )  # fmt: skip


def add_review(database: Database, prediction_id: str, status: str) -> None:
    add(
        database, ReviewItemRow, prediction_id=prediction_id, model_name="cells", model_version=1,
        reason="uncertain", score=0.5, chosen_at=OLD, status=status,
    )  # fmt: skip


def add_drift(database: Database, most_drifted: list[str], *, alert: bool, version: int = 1) -> None:
    run_id = uuid7()
    for test in ("uae", "combined"):
        add(
            database, DriftResultRow, run_id=run_id, tested_at=OLD, model_name="cells", model_version=version,
            test=test, detector="native", verdict="drift", threshold=0.01, n_reference=10, n_window=10,
            details={"most_drifted": [[name, 1.5] for name in most_drifted]} if test == "combined" else {},
        )  # fmt: skip
    if alert:
        add(
            database, DriftAlertRow, run_id=run_id, raised_at=OLD, model_name="cells", model_version=version,
            cause="blur", report="report.html",
        )  # fmt: skip


def left(database: Database, row: type[Base]) -> int:
    with database.transaction() as connection:
        return int(connection.execute(select(func.count()).select_from(row)).scalar_one())


def ids(database: Database) -> set[str]:
    with database.transaction() as connection:
        return set(connection.execute(select(PredictionRow.prediction_id)).scalars())


def shares(database: Database, *, apply: bool) -> dict[str, int]:
    return {share.kind: share.count for share in age_rows(database, RowRetention(), NOW, apply=apply)}


def test_age_rows_when_applied_then_keeps_what_people_and_alerts_point_at(database: Database) -> None:
    record_desired(database, "cells", 1, requested_by="kim", reason="")
    judged, queued, evidence, former, plain = records = [prediction() for _ in range(5)]
    young = prediction(NOW - timedelta(days=1))
    insert_records(database, [*records, young])
    add_feedback(database, judged.prediction_id)
    add_review(database, queued.prediction_id, "open")
    add_drift(database, [evidence.prediction_id], alert=True)
    add_drift(database, [former.prediction_id], alert=True, version=7)
    add_drift(database, [plain.prediction_id], alert=False)
    call = ApiCallRecord(uuid7(), "request", "/predict", "POST", 200, "ok", 1.0, "127.0.0.1", OLD)
    insert_records(database, [call, replace(call, call_id=uuid7(), at=NOW)])
    for fired in (True, False):
        record_decision(database, DecisionRecord(OLD, "cells", 1, fired, [], 0), "promoted: cells-v1")
    wanted = {"predictions": 2, "api_log": 1, "drift_results": 2, "retraining_decisions": 1}

    assert shares(database, apply=False) == wanted
    assert (left(database, PredictionRow), left(database, ApiCallRow), left(database, DriftResultRow)) == (6, 2, 6)

    assert shares(database, apply=True) == wanted
    assert ids(database) == {one.prediction_id for one in (judged, queued, evidence, young)}
    assert (left(database, ApiCallRow), left(database, DriftResultRow), left(database, DriftAlertRow)) == (1, 4, 2)
    assert left(database, RetrainingRow) == 1
    assert shares(database, apply=True) == dict.fromkeys(wanted, 0)


@pytest.mark.parametrize("batch_rows", [1, 7, 25, 100])
def test_delete_aged_rows_when_there_are_many_then_goes_in_batches(database: Database, batch_rows: int) -> None:
    insert_records(database, [prediction(OLD + timedelta(minutes=n)) for n in range(25)])
    assert delete_aged_rows(database, "predictions", OLD + timedelta(minutes=20), batch_rows) == 20
    assert left(database, PredictionRow) == 5


def test_delete_aged_rows_when_interrupted_then_the_next_call_goes_on(database: Database) -> None:
    insert_records(database, [prediction(OLD + timedelta(minutes=n)) for n in range(25)])
    deletes = []

    def interrupt(*details: Any) -> None:
        if details[2].startswith("DELETE"):
            deletes.append(1)
            if len(deletes) == 3:
                raise KeyboardInterrupt

    event.listen(database.engine, "before_cursor_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        delete_aged_rows(database, "predictions", NOW, 10)
    event.remove(database.engine, "before_cursor_execute", interrupt)
    assert left(database, PredictionRow) == 5
    assert count_aged_rows(database, "predictions", NOW) == 5
    assert delete_aged_rows(database, "predictions", NOW, 10) == 5


def test_keep_images_names_the_labelled_the_queued_and_the_evidence(database: Database, tmp_path: Path) -> None:
    record_desired(database, "cells", 1, requested_by="kim", reason="")
    judged, queued, skipped, evidence, _ = records = [prediction(digit=digit) for digit in "12345"]
    insert_records(database, records)
    add_feedback(database, judged.prediction_id)
    add_review(database, queued.prediction_id, "labelled")
    add_review(database, skipped.prediction_id, "skipped")
    add_drift(database, [evidence.prediction_id], alert=True)
    folder = tmp_path / "images"

    assert keep_images(database, folder, apply=False) == 3
    assert not folder.exists()
    assert keep_images(database, folder, apply=True) == 3
    assert read_kept(folder) == {"1" * 64, "2" * 64, "4" * 64}


def test_age_rows_when_the_database_is_away_then_says_so(tmp_path: Path) -> None:
    database = open_database("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(DependencyError):
        list(age_rows(database, RowRetention(), NOW, apply=True))
