"""The tables on real Postgres and on SQLite: migrations, batches that are sent twice, windows for the monitor."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select, text

from onsight.db import (
    GOLDEN_REQUEST_PREFIX,
    ApiCallRecord,
    ApiCallRow,
    Base,
    Database,
    PredictionRecord,
    PredictionRow,
    WindowQuery,
    WorkerReport,
    find_prediction,
    forget_worker,
    insert_records,
    live_workers,
    newest_desired,
    open_database,
    read_window,
    record_desired,
    record_rollback,
    report_worker,
    rollback_target,
    upgrade,
    uuid7,
)
from onsight.errors import DependencyError, OnsightError
from tests.servers.postgres import PostgresServer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def prediction(n: int = 0, version: int = 1) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=uuid7(),
        request_id=f"request-{n}",
        model_name="cells",
        model_version=version,
        created_at=NOON + timedelta(seconds=n),
        probabilities=[0.25, 0.75],
        top_class="defect",
        confidence=0.75,
        uae_feats=[float(n), 0.1, -2.5],
        bbsd_feats=[0.25, 0.75],
        image_sha256="0" * 64,
        image_bytes=1000,
        image_width=300,
        image_height=200,
        image_format="PNG",
        client="127.0.0.1",
        timings_ms={"decode": 1.5},
    )


def test_upgrade_from_empty_makes_what_the_tables_say(empty_url: str) -> None:
    upgrade(empty_url)

    database = open_database(empty_url)
    with database.transaction() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), Base.metadata)
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        indices = {index["name"] for index in inspect(connection).get_indexes("predictions")}
    database.close()
    assert difference == []
    assert revision == "0006"
    assert indices == {"ix_predictions_created_at", "ix_predictions_version_newest"}


def test_upgrade_when_up_to_date_changes_nothing(database: Database) -> None:
    insert_records(database, [prediction()])

    upgrade(database)

    assert len(read_window(database, WindowQuery("cells", 1, max_rows=10, kept_rows=10))) == 1


def test_read_window_leaves_golden_images_out(database: Database) -> None:
    upgrade(database)
    ids = (f"{GOLDEN_REQUEST_PREFIX}1", f"{GOLDEN_REQUEST_PREFIX.upper()}1", "goldenrod-1")
    golden, *others = (replace(prediction(), prediction_id=uuid7(), request_id=request_id) for request_id in ids)
    insert_records(database, [golden, *others])

    found = read_window(database, WindowQuery("cells", 1, max_rows=10, kept_rows=10))

    assert set(found.prediction_ids) == {other.prediction_id for other in others}


def test_upgrade_by_several_processes_at_once_all_succeed(empty_url: str) -> None:
    code = "import sys; from onsight.db import upgrade; sys.stdin.readline(); upgrade(sys.argv[1])"
    command = [sys.executable, "-c", code, empty_url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd())
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0, 0], errors


def test_postgres_stores_features_as_double_precision_arrays(postgres_url: str) -> None:
    upgrade(postgres_url)
    database = open_database(postgres_url)
    query = text("SELECT column_name, udt_name FROM information_schema.columns WHERE table_name = 'predictions'")
    with database.transaction() as connection:
        types = dict(connection.execute(query).tuples().all())
    database.close()

    assert types["uae_feats"] == types["bbsd_feats"] == types["probabilities"] == "_float8"
    assert types["prediction_id"] == "uuid"
    assert types["created_at"] == "timestamptz"


def test_insert_records_when_sent_twice_keeps_the_first(database: Database) -> None:
    first, second = prediction(0), prediction(1)
    insert_records(database, [first])

    insert_records(database, [replace(first, top_class="other"), second])

    with database.transaction() as connection:
        rows = connection.execute(select(PredictionRow.prediction_id, PredictionRow.top_class)).all()
    assert {tuple(row) for row in rows} == {(first.prediction_id, "defect"), (second.prediction_id, "defect")}


def test_insert_records_when_one_is_refused_writes_none(database: Database) -> None:
    wrong = replace(prediction(1), top_class=None)  # type: ignore[arg-type]

    with pytest.raises(OnsightError) as caught:
        insert_records(database, [prediction(0), wrong])

    assert not isinstance(caught.value, DependencyError)
    assert len(read_window(database, WindowQuery("cells", 1, max_rows=10, kept_rows=10))) == 0


def test_insert_records_when_sent_twice_keeps_one(database: Database) -> None:
    call = ApiCallRecord(uuid7(), "r", "/predict", "POST", 200, "ok", 3.5, "127.0.0.1", NOON)

    insert_records(database, [call])
    insert_records(database, [call])
    insert_records(database, [])

    with database.transaction() as connection:
        assert connection.execute(select(func.count()).select_from(ApiCallRow)).scalar_one() == 1
        assert connection.execute(select(ApiCallRow.at)).scalar_one() == NOON


def test_read_window_gives_corresponding_rows_newest_first(database: Database) -> None:
    insert_records(database, [prediction(n) for n in range(5)] + [prediction(99, version=2)])

    window = read_window(database, WindowQuery("cells", 1, max_rows=3, kept_rows=3))

    assert len(window) == 3
    assert window.uae_feats.dtype == np.float64
    assert window.uae_feats.tolist() == [[4.0, 0.1, -2.5], [3.0, 0.1, -2.5], [2.0, 0.1, -2.5]]
    assert window.bbsd_feats.shape == window.probabilities.shape == (3, 2)
    assert window.created_at[0] == NOON + timedelta(seconds=4)
    assert window.created_at[0].tzinfo is not None


def test_read_window_when_there_are_none_is_empty(database: Database) -> None:
    window = read_window(database, WindowQuery("cells", 7, max_rows=100, kept_rows=100))

    assert (len(window), window.n_rows) == (0, 0)
    assert window.uae_feats.shape == (0, 0)


def test_read_window_gives_what_the_images_are_like_and_nan_for_older_rows(database: Database) -> None:
    newer = replace(prediction(1), image_brightness=0.5, image_contrast=0.25, image_sharpness=0.125)
    insert_records(database, [prediction(0), newer])

    window = read_window(database, WindowQuery("cells", 1, max_rows=10, kept_rows=10))

    assert window.properties["width"].tolist() == [300, 300]
    assert [window.properties[name][0] for name in ("brightness", "contrast", "sharpness")] == [0.5, 0.25, 0.125]
    assert np.isnan(window.properties["brightness"][1])
    assert (window.formats, window.clients) == (("PNG", "PNG"), ("127.0.0.1", "127.0.0.1"))
    assert window.image_digests == ("0" * 64, "0" * 64)


def test_read_window_is_bounded_by_time_and_by_count(database: Database) -> None:
    insert_records(database, [prediction(n) for n in range(20)])

    def sizes(max_rows: int, since_s: int) -> tuple[int, float]:
        since = NOON + timedelta(seconds=since_s)
        window = read_window(database, WindowQuery("cells", 1, max_rows=max_rows, kept_rows=100, since=since))
        return window.n_rows, float(window.uae_feats[:, 0].min())

    assert sizes(100, 15) == (5, 15.0)
    assert sizes(3, 15) == (3, 17.0)


def test_read_window_when_larger_than_what_is_kept_then_thins_it_evenly_and_always_alike(database: Database) -> None:
    insert_records(database, [prediction(n) for n in range(5000)])
    query = WindowQuery("cells", 1, max_rows=4500, kept_rows=2500)

    window = read_window(database, query)

    assert (len(window), window.n_rows) == (2500, 4500)
    rows = window.uae_feats[:, 0]
    assert (np.diff(rows) < 0).all()
    assert rows.min() >= 500
    assert rows.mean() == pytest.approx(2749.5, abs=100)
    assert read_window(database, query).prediction_ids == window.prediction_ids
    # What is kept of a smaller part is kept of the whole as well, if the whole keeps enough.
    fewer = read_window(database, WindowQuery("cells", 1, max_rows=4500, kept_rows=100))
    assert set(fewer.prediction_ids) <= set(window.prediction_ids)


def test_read_window_on_postgres_reads_the_index_in_order(postgres_url: str) -> None:
    upgrade(postgres_url)
    database = open_database(postgres_url)
    insert_records(database, [prediction(n, version=1 + n // 200) for n in range(4000)])
    with database.transaction() as connection:
        connection.execute(text("ANALYZE predictions"))
        plan = connection.execute(
            text(
                "EXPLAIN SELECT uae_feats FROM predictions WHERE model_name = 'cells' AND model_version = 1 "
                "ORDER BY created_at DESC, prediction_id DESC LIMIT 100"
            )
        ).scalars()
        lines = "\n".join(plan)
    database.close()

    assert "ix_predictions_version_newest" in lines
    assert "Sort" not in lines


def test_desired_model_newest_row_wins_and_the_log_stays(database: Database) -> None:
    assert newest_desired(database) is None
    record_desired(database, "cells", 1, requested_by="flow", reason="first")
    record_desired(database, "cells", 2, requested_by="flow", reason="better " * 200)

    newest = newest_desired(database)

    assert newest is not None
    assert newest.bundle_name == "cells-v2"
    assert newest.requested_at.tzinfo is not None
    target = rollback_target(database)
    assert target is not None
    assert target.bundle_name == "cells-v1"


def test_record_rollback_by_many_at_once_is_recorded_once(database: Database) -> None:
    for version in (1, 2, 3):
        wrong = record_desired(database, "cells", version, requested_by="flow", reason="")

    with ThreadPoolExecutor(6) as threads:
        wishes = list(
            threads.map(
                lambda index: record_rollback(database, wrong, requested_by=f"worker {index}", reason="slow"), range(6)
            )
        )

    done = [wish for wish in wishes if wish is not None]
    assert len(done) == 1
    assert (done[0].bundle_name, done[0].kind) == ("cells-v2", "rollback")
    assert newest_desired(database) == done[0]


def test_workers_are_listed_while_they_report(database: Database) -> None:
    now = datetime.now(UTC)
    report = WorkerReport("host-1", "host", 1, "cells-v1", 7, "", now)
    for one in (report, replace(report, worker_id="host-2", pid=2, reported_at=now - timedelta(seconds=60))):
        report_worker(database, one)
    assert live_workers(database) == [report]
    report_worker(database, replace(report, bundle_name="cells-v2", seen_seq=8))
    assert [worker.bundle_name for worker in live_workers(database)] == ["cells-v2"]

    forget_worker(database, "host-1")

    assert live_workers(database) == []


def test_transaction_after_the_server_was_restarted_works_again(stoppable_postgres: PostgresServer) -> None:
    database = open_database(stoppable_postgres.create_database())
    upgrade(database)
    stoppable_postgres.stop()
    with pytest.raises(DependencyError, match="does not answer"):
        database.check()

    stoppable_postgres.start()

    database.check()
    database.close()


def test_find_prediction_gives_the_record_that_was_written(database: Database) -> None:
    records = [prediction(n) for n in range(3)]
    insert_records(database, records)

    assert [find_prediction(database, record.prediction_id) for record in records] == records
    assert find_prediction(database, uuid7()) is None
