"""The review queue on real Postgres and on SQLite: what is chosen, who decides, what waits for a data set."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select

from onsight.bundle import Bundle
from onsight.config import ReviewConfig
from onsight.db import (
    GOLDEN_REQUEST_PREFIX,
    Database,
    DriftResultRow,
    Opinion,
    PredictionRecord,
    ReviewItem,
    ReviewItemRow,
    add_review_items,
    count_open_review_items,
    decide_review_item,
    exclude_reviewed,
    find_review_item,
    insert_opinions,
    insert_records,
    mark_reviewed,
    new_opinion,
    open_review_items,
    read_opinions,
    uuid7,
    waiting_reviewed_images,
)
from onsight.domain import BundleMetadata
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.review import fill_review_queue

NOW = datetime.now(UTC)


@pytest.fixture
def archive(tmp_path: Path) -> ImageArchive:
    return ImageArchive(tmp_path / "images", ArchivePolicy())


@pytest.fixture
def metadata(small_bundle: Bundle) -> BundleMetadata:
    return replace(small_bundle.metadata, uae_dims=2)


def content_of(n: int) -> bytes:
    return f"image {n}".encode()


def prediction(n: int, margin: float = 0.5, **changes: Any) -> PredictionRecord:
    probabilities = [(1 + margin) / 2, (1 - margin) / 2, 0.0]
    record = PredictionRecord(
        prediction_id=uuid7(),
        request_id=f"request-{n}",
        model_name="cells",
        model_version=1,
        created_at=NOW + timedelta(seconds=n),
        probabilities=probabilities,
        top_class="functional",
        confidence=max(probabilities),
        uae_feats=[float(n), float(n % 7)],
        bbsd_feats=probabilities,
        image_sha256=hashlib.sha256(content_of(n)).hexdigest(),
        image_bytes=100,
        image_width=90,
        image_height=60,
        image_format="PNG",
        client="::1",
        timings_ms={},
    )
    return replace(record, **changes)


def log(database: Database, archive: ImageArchive, *records: PredictionRecord) -> list[str]:
    insert_records(database, records)
    for n in {int(record.uae_feats[0]) for record in records}:
        archive.keep(hashlib.sha256(content_of(n)).hexdigest(), content_of(n))
    return [record.prediction_id for record in records]


def say(database: Database, prediction_id: str, person: str, label: str, after_s: int = 0) -> Opinion:
    opinion = new_opinion(prediction_id, [label], person, NOW + timedelta(seconds=after_s), "feedback")
    insert_opinions(database, [opinion])
    return opinion


def tell_drift(database: Database, *ids: str, model_version: int = 1, hours_ago: int = 0) -> None:
    row = {
        "run_id": uuid7(), "tested_at": NOW - timedelta(hours=hours_ago), "model_name": "cells",
        "model_version": model_version, "test": "combined", "detector": "native", "verdict": "drift", "threshold": 0.01,
        "n_reference": 50, "n_window": 50,
        "details": {"most_drifted": [[name, 9.0 - place] for place, name in enumerate(ids)]},
    }  # fmt: skip
    with database.transaction() as connection:
        connection.execute(insert(DriftResultRow).values(row))


def chosen(database: Database) -> dict[str, str]:
    with database.transaction() as connection:
        return dict(connection.execute(select(ReviewItemRow.prediction_id, ReviewItemRow.reason)).tuples().all())


def config(budget: int = 5, **changes: Any) -> ReviewConfig:
    return ReviewConfig.model_validate({"budget": budget, "min_distance": 0, **changes})


def test_fill_takes_disputed_drifted_and_uncertain(
    database: Database, archive: ImageArchive, metadata: BundleMetadata
) -> None:
    ids = log(database, archive, *(prediction(n, margin=n / 100) for n in range(40)))
    say(database, ids[30], "ann", "functional")
    say(database, ids[30], "bob", "broken")
    say(database, ids[0], "ann", "broken")  # the least certain of all, and somebody has said what it is
    tell_drift(database, ids[5], hours_ago=2)
    tell_drift(database, ids[20], ids[21], uuid7())
    tell_drift(database, ids[25], model_version=2)

    report = fill_review_queue(database, archive, metadata, config())

    found = chosen(database)
    assert {name: reason for name, reason in found.items() if reason != "uncertain"} == {
        ids[30]: "disputed", ids[20]: "drifted", ids[21]: "drifted",
    }  # fmt: skip
    assert ids[1] in found  # the least certain of those that nobody has judged
    assert ids[0] not in found
    assert report.n_added == {"disputed": 1, "drifted": 2, "uncertain": 2}
    assert report.n_open == 5


def test_fill_asks_about_no_drifted_prediction_that_somebody_has_judged(
    database: Database, archive: ImageArchive, metadata: BundleMetadata
) -> None:
    judged, agreed, disputed, wanted = log(database, archive, *(prediction(n) for n in range(1, 5)))
    say(database, judged, "ann", "broken")
    for person, label in (("ann", "broken"), ("bob", "broken")):
        say(database, agreed, person, label)
    for person, label in (("ann", "broken"), ("bob", "functional")):
        say(database, disputed, person, label)
    tell_drift(database, judged, agreed, disputed, wanted)

    fill_review_queue(database, archive, metadata, config())

    assert chosen(database) == {disputed: "disputed", wanted: "drifted"}


def test_fill_asks_about_no_golden_image_however_disputed_or_drifted(
    database: Database, archive: ImageArchive, metadata: BundleMetadata
) -> None:
    golden = [prediction(n, request_id=f"{GOLDEN_REQUEST_PREFIX}{n}") for n in (1, 2)]
    disputed, drifted = log(database, archive, *golden)
    say(database, disputed, "ann", "broken")
    say(database, disputed, "bob", "functional")
    tell_drift(database, drifted)

    fill_review_queue(database, archive, metadata, config())

    assert chosen(database) == {}


def test_fill_when_repeated_then_keeps_to_the_budget_and_chooses_no_image_twice(
    database: Database, archive: ImageArchive, metadata: BundleMetadata
) -> None:
    ids = log(database, archive, *(prediction(n) for n in range(6)))
    fill_review_queue(database, archive, metadata, config(budget=2))
    again = fill_review_queue(database, archive, metadata, config(budget=2))
    first = chosen(database)
    assert (again.n_added, again.n_open, len(first)) == ({}, 2, 2)

    done = next(iter(first))
    decide_review_item(database, done, "ann", None)
    copies = [prediction(n) for n in range(6) if ids[n] == done]  # the same image asked about once more
    log(database, archive, *copies)
    later = fill_review_queue(database, archive, metadata, config(budget=2))

    assert later.n_open == 2
    assert set(first) < set(chosen(database))
    assert copies[0].prediction_id not in chosen(database)


def test_fill_passes_over_what_cannot_be_shown_and_what_is_no_traffic(
    database: Database, archive: ImageArchive, metadata: BundleMetadata
) -> None:
    log(database, archive, prediction(1, request_id="golden-1"), prediction(2, model_version=2))
    log(database, archive, prediction(3, model_name="other"))
    insert_records(database, [prediction(4)])  # its image is not kept
    wanted = log(database, archive, prediction(5))

    fill_review_queue(database, archive, metadata, config())

    assert list(chosen(database)) == wanted


def test_fill_without_predictions_adds_nothing(
    database: Database, archive: ImageArchive, metadata: BundleMetadata
) -> None:
    assert fill_review_queue(database, archive, metadata, config()).n_open == 0


def test_open_items_take_the_reasons_in_turn(database: Database, archive: ImageArchive) -> None:
    ids = log(database, archive, *(prediction(n) for n in range(5)))
    reasons = ("uncertain", "uncertain", "drifted", "uncertain", "drifted")
    add_review_items(
        database,
        [
            ReviewItem(name, "cells", 1, reason, float(n), NOW if n < 4 else NOW + timedelta(hours=1))
            for n, (name, reason) in enumerate(zip(ids, reasons, strict=True))
        ],
    )

    found = open_review_items(database, limit=4)

    assert [one.item.prediction_id for one in found] == [ids[4], ids[2], ids[3], ids[1]]
    np.testing.assert_allclose(found[0].probabilities, [0.75, 0.25, 0.0])
    assert count_open_review_items(database) == 5
    assert count_open_review_items(database, "other") == 0


def add_one(database: Database, archive: ImageArchive, n: int = 1) -> str:
    (name,) = log(database, archive, prediction(n))
    add_review_items(database, [ReviewItem(name, "cells", 1, "uncertain", 1.0, NOW)])
    return name


def test_decide_when_labelled_then_closes_the_item_and_keeps_the_opinion(
    database: Database, archive: ImageArchive
) -> None:
    name = add_one(database, archive)
    opinion = new_opinion(name, ["broken"], "ann", NOW, "review")

    assert decide_review_item(database, name, "ann", opinion)

    item = find_review_item(database, name)
    assert item is not None
    assert (item.status, item.decided_by) == ("labelled", "ann")
    assert read_opinions(database, name) == [opinion]
    assert not decide_review_item(database, name, "bob", None)
    assert open_review_items(database, 10) == []


def test_decide_when_the_opinion_cannot_be_kept_then_the_item_stays_open(
    database: Database, archive: ImageArchive
) -> None:
    name = add_one(database, archive)
    opinion = new_opinion(name, ["broken"], "ann", NOW, "feedback")
    insert_opinions(database, [opinion])

    with pytest.raises(Exception, match="feedback"):  # the same id a second time
        decide_review_item(database, name, "ann", opinion)

    assert count_open_review_items(database) == 1


def test_decide_when_several_do_at_once_then_one_wins(database: Database, archive: ImageArchive) -> None:
    name = add_one(database, archive)

    def decide(n: int) -> bool:
        return decide_review_item(database, name, f"p{n}", new_opinion(name, ["broken"], f"p{n}", NOW, "review"))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(decide, range(8)))

    item = find_review_item(database, name)
    assert sum(won) == 1
    assert item is not None
    assert item.decided_by == f"p{won.index(True)}"
    assert [opinion.labelled_by for opinion in read_opinions(database, name)] == [item.decided_by]


def test_waiting_images_carry_what_people_say_together(database: Database, archive: ImageArchive) -> None:
    agreed, disputed, skipped, taken, useless = (add_one(database, archive, n) for n in range(1, 6))
    say(database, agreed, "ann", "scratched", after_s=-50)
    say(database, agreed, "cem", "broken", after_s=-40)
    say(database, disputed, "ann", "scratched", after_s=-50)
    for name in (agreed, disputed, taken, useless):
        decide_review_item(database, name, "bob", new_opinion(name, ["scratched"], "bob", NOW, "review"))
    say(database, disputed, "bob", "broken", after_s=1)
    decide_review_item(database, skipped, "bob", None)
    mark_reviewed(database, [(taken, "v2.1.0")])
    exclude_reviewed(database, [useless])

    found = {image.prediction_id: image for image in waiting_reviewed_images(database)}

    assert set(found) == {agreed, disputed}
    assert found[disputed].labels is None
    assert (found[agreed].labels, found[agreed].labelled_by) == (("scratched",), ("ann", "bob"))
    assert found[agreed].labelled_at == NOW
    assert found[agreed].image_sha256 == hashlib.sha256(content_of(1)).hexdigest()
