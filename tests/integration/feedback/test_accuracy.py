"""Accuracy measured from real rows in Postgres and SQLite, and written where dashboards read it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete

from onsight.bundle import read_metadata
from onsight.bundle.metadata import dump_metadata
from onsight.db import (
    GOLDEN_REQUEST_PREFIX,
    Database,
    PredictionRecord,
    insert_opinions,
    insert_records,
    new_opinion,
    read_accuracy,
    uuid7,
)
from onsight.db.tables import PredictionRow
from onsight.domain import ConfidenceMap
from onsight.feedback import measure_accuracy
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store
from tasks.accuracy import watch_accuracy
from tests.servers.bundle import BundleStore

NOON = datetime(2024, 2, 28, 12, tzinfo=UTC)
CLASSES = ("functional", "scratched", "broken")
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(bundle_store: BundleStore, tmp_path: Path) -> ArtifactStore:
    """Holds the metadata of cells-v1, which has no map, and of mapped-v1 and marks-v1, which have one."""
    cells = read_metadata(open_store(Settings(central_storage_url=bundle_store.url)), bundle_store.first)
    mapped = replace(cells, model_name="mapped", confidence_map=ConfidenceMap((0.5, 0.9), (0.4, 0.8), 100))
    opened = open_store(Settings(central_storage_url=str(tmp_path / "storage")))
    for metadata in (cells, mapped, replace(mapped, model_name="marks", classifier_type="multi-label")):
        opened.put_bytes(f"models/{metadata.bundle_name}.yaml", dump_metadata(metadata))
    return opened


def prediction(top: int, *, model_name: str = "cells", hours: float = 0, golden: bool = False) -> PredictionRecord:
    probabilities = [0.15] * 3
    probabilities[top] = 0.7
    return PredictionRecord(
        prediction_id=uuid7(),
        request_id=f"{GOLDEN_REQUEST_PREFIX}1" if golden else "request",
        model_name=model_name,
        model_version=1,
        created_at=NOON + timedelta(hours=hours),
        probabilities=probabilities,
        top_class=CLASSES[top],
        confidence=0.7,
        uae_feats=[0.1],
        bbsd_feats=probabilities,
        image_sha256="0" * 64,
        image_bytes=1000,
        image_width=300,
        image_height=200,
        image_format="PNG",
        client="127.0.0.1",
        timings_ms={},
    )


def label(database: Database, record: PredictionRecord, name: str, *, who: str = "ann") -> None:
    at = record.created_at + timedelta(hours=2)
    insert_opinions(database, [new_opinion(record.prediction_id, [name], who, at, "feedback")])


def test_measure_when_labels_arrive_later_then_the_weeks_are_written_anew(
    database: Database, store: ArtifactStore
) -> None:
    records = [prediction(index % 3, hours=-index) for index in range(60)]
    insert_records(database, [*records, prediction(0, golden=True), prediction(0, model_name="gone")])
    for record in records[:10]:
        label(database, record, "broken")
    first = measure_accuracy(database, store, weeks=1, now=NOON)
    for record in records[10:20]:
        label(database, record, record.top_class)
        label(database, record, record.top_class, who="bob")

    second = measure_accuracy(database, store, weeks=1, now=NOON)

    assert list(second) == ["cells-v1"]
    before, after = (
        next(one for one in measured["cells-v1"] if (one.period, one.group_by) == ("week", "all"))
        for measured in (first, second)
    )
    assert (before.n_predictions, before.n_labelled, before.n_right) == (60, 10, 3)
    assert (after.n_predictions, after.n_labelled, after.n_right) == (60, 20, 13)
    assert after.delay_median_h == 2
    written = [one for period in ("day", "week") for one in read_accuracy(database, period, EPOCH)]
    assert sorted(map(repr, written)) == sorted(map(repr, second["cells-v1"]))


def test_measure_when_a_week_lies_behind_then_its_rows_stay(database: Database, store: ArtifactStore) -> None:
    insert_records(database, [prediction(0)])
    measure_accuracy(database, store, weeks=1, now=NOON)
    insert_records(database, [prediction(0, hours=24 * 28)])

    measure_accuracy(database, store, weeks=1, now=NOON + timedelta(days=28))

    assert [one.n_predictions for one in read_accuracy(database, "week", EPOCH) if one.group_by == "all"] == [1, 1]


def test_measure_when_versions_differ_then_each_is_expected_by_its_own_map(
    database: Database, store: ArtifactStore
) -> None:
    insert_records(database, [prediction(0, model_name=name) for name in ("cells", "mapped", "marks")])

    measure_accuracy(database, store, weeks=0, now=NOON)

    found = {one.model_name: one for one in read_accuracy(database, "day", EPOCH)}
    assert {name: (one.expected_accuracy, one.is_calibrated) for name, one in found.items()} == {
        "cells": (pytest.approx(0.7), False),
        "mapped": (pytest.approx(0.6), True),
        # 0.7 * 0.85 * 0.85 = 0.506
        "marks": (pytest.approx(0.4 + 0.7 * 0.85**2 - 0.5), True),
    }


def test_measure_when_there_are_more_rows_than_one_piece_then_counts_each_once(
    database: Database, store: ArtifactStore
) -> None:
    classes = np.random.default_rng(0).integers(0, 3, 12_001).tolist()
    records = [prediction(top, hours=-index / 1000) for index, top in enumerate(classes)]
    insert_records(database, records)
    insert_opinions(
        database,
        [
            new_opinion(record.prediction_id, ["broken"], who, record.created_at, "import")
            for record in records[::3]
            for who in ("ann", "bob", "cid")
        ],
    )

    measured = measure_accuracy(database, store, weeks=1, now=NOON)["cells-v1"]

    week = next(one for one in measured if (one.period, one.group_by) == ("week", "all"))
    assert (week.n_predictions, week.n_labelled) == (12_001, 4_001)
    assert week.n_right == sum(top == 2 for top in classes[::3])
    assert week.expected_accuracy == pytest.approx(0.7)


def test_measure_when_nothing_was_answered_then_writes_nothing(database: Database, store: ArtifactStore) -> None:
    assert measure_accuracy(database, store, weeks=8) == {}
    assert read_accuracy(database, "week", EPOCH) == []


def test_stage_when_run_then_writes_and_says_it(database: Database, bundle_store: BundleStore, tmp_path: Path) -> None:
    record = prediction(0, hours=-1)
    insert_records(database, [replace(record, created_at=datetime.now(UTC))])
    url = database.engine.url.render_as_string(hide_password=False)
    settings = Settings(central_storage_url=bundle_store.url, state_dir=tmp_path, database_url=url)

    sentences = watch_accuracy.fn(open_store(settings), settings)

    assert len(sentences) == 1
    assert sentences[0].startswith("cells-v1, 20")
    assert sentences[0].endswith("no label has arrived")
    assert len(read_accuracy(database, "day", EPOCH)) == 1


def test_measure_when_predictions_were_aged_out_then_what_was_measured_of_them_stays(
    database: Database, store: ArtifactStore
) -> None:
    # Two days of one week, and the week before, of which nothing is left later.
    days = {hours: [prediction(0, hours=hours) for _ in range(10)] for hours in (0, -24, -7 * 24)}
    insert_records(database, [record for records in days.values() for record in records])
    for records in days.values():
        label(database, records[0], "broken")
    first = measure_accuracy(database, store, weeks=2, now=NOON)["cells-v1"]
    gone = [*days[-24][1:], *days[-7 * 24]]
    with database.transaction() as connection:
        connection.execute(
            delete(PredictionRow).where(PredictionRow.prediction_id.in_([one.prediction_id for one in gone]))
        )
    label(database, days[0][1], days[0][1].top_class)

    second = measure_accuracy(database, store, weeks=52, now=NOON + timedelta(hours=1))["cells-v1"]

    stored = [one for period in ("day", "week") for one in read_accuracy(database, period, EPOCH)]
    assert second == stored
    today = [one for one in second if (one.period, one.starts_at.day) == ("day", NOON.day)]
    assert [(one.n_predictions, one.n_labelled, one.n_right) for one in today] == [(10, 2, 1)]
    assert [one for one in second if one not in today] == [
        one for one in first if (one.period, one.starts_at.day) != ("day", NOON.day)
    ]
