"""Retraining by policy: from labels and an alert to the version in production, with every server real."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select

from onsight.bundle import read_metadata
from onsight.datasets import ImportRequest, import_dataset
from onsight.db import (
    Database,
    DriftAlertRow,
    RetrainingRow,
    ReviewItem,
    add_review_items,
    decide_review_item,
    find_prediction,
    new_opinion,
    newest_desired,
    open_database,
    upgrade,
    uuid7,
)
from onsight.settings import Settings
from onsight.storage import open_store
from tests.integration.flows.conftest import WriteConfig, run_command

HELD_BACK = 2
LENIENT = {"evaluate.gate.max_regression": 1.0, "evaluate.gate.margin": -1.0}
POLICY = {"retraining.new_labels": 3, "retraining.cool_down_h": 0}


@pytest.fixture
def ds_root(plankton_folder: Path, tmp_path: Path) -> Path:
    """The data set without the first images of each class."""
    root = tmp_path / "datasets"
    for folder in sorted(path for path in plankton_folder.iterdir() if path.is_dir()):
        (root / "source" / folder.name).mkdir(parents=True)
        for path in sorted(folder.glob("*.jpg"))[HELD_BACK:]:
            shutil.copy(path, root / "source" / folder.name)
    import_dataset(ImportRequest(root / "source", "plankton", root, split=(0.5, 0.25, 0.25)))
    return root


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.predictions_database_url)
    upgrade(opened)
    yield opened
    opened.close()


def review(database: Database, url: str, image: Path, version: int) -> None:
    """An image that a client sent and a person has labelled."""
    prediction_id = httpx.post(f"{url}/predict", files={"file": image.read_bytes()}).json()["prediction_id"]
    deadline_s = time.monotonic() + 60
    while find_prediction(database, prediction_id) is None:
        assert time.monotonic() < deadline_s, "the service did not ship its log"
        time.sleep(0.1)
    now = datetime.now(UTC)
    add_review_items(database, [ReviewItem(prediction_id, "plankton", version, "uncertain", 0.9, now)])
    opinion = new_opinion(prediction_id, [image.parent.name], "kim", now, "review")
    assert decide_review_item(database, prediction_id, "kim", opinion)


def raise_alert(database: Database, version: int) -> None:
    values = {
        "run_id": uuid7(),
        "raised_at": datetime.now(UTC),
        "model_name": "plankton",
        "model_version": version,
    }
    with database.transaction() as connection:
        connection.execute(insert(DriftAlertRow).values(values | {"cause": "brightness", "report": "report.html"}))


def decisions(database: Database) -> list[Any]:
    with database.transaction() as connection:
        return list(connection.execute(select(*RetrainingRow.__table__.c).order_by(RetrainingRow.seq)).all())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_retrain_flow_when_labels_and_alerts_come_in_then_trains_and_the_gate_decides(
    settings: Settings,
    database: Database,
    ds_root: Path,
    write_config: WriteConfig,
    plankton_folder: Path,
    free_port: int,
) -> None:
    data = {"dataset.ds_root": str(ds_root)}
    first = run_command(write_config("full", **LENIENT, **data))
    assert first.code == 0, first.err
    retrain = write_config("retrain", **LENIENT, **POLICY, **data)
    url = f"http://127.0.0.1:{free_port}"

    quiet = run_command(retrain)
    assert quiet.code == 0, quiet.err
    assert "not met: 3 new labels since the beginning; there: 0" in quiet.out
    assert "plankton is not trained again" in quiet.out

    folders = sorted(path for path in plankton_folder.iterdir() if path.is_dir())
    for folder in folders[:4]:
        review(database, url, min(folder.glob("*.jpg")), 1)
    trained = run_command(retrain)
    assert trained.code == 0, trained.err
    assert "trained again by policy: plankton-v2 is in production" in trained.out
    assert read_metadata(open_store(settings), "plankton-v2").dataset_tag == "v1.1.0"
    wish = newest_desired(database)
    assert wish is not None
    assert wish.bundle_name == "plankton-v2"
    assert httpx.get(f"{url}/models/current").json()["serving"]["bundle_name"] == "plankton-v2"

    raise_alert(database, 2)
    nothing_new = run_command(retrain)
    assert "nothing new to train plankton on" in nothing_new.out, nothing_new.err

    for folder in folders[:4]:
        review(database, url, sorted(folder.glob("*.jpg"))[1], 2)
    refused = run_command(retrain, "--set", "evaluate.gate.minimum={accuracy: 1.0}")
    assert refused.code == 5, refused.err
    assert httpx.get(f"{url}/models/current").json()["serving"]["bundle_name"] == "plankton-v2"

    found = decisions(database)
    assert [row.fired for row in found] == [False, True, True, True]
    assert [row.outcome.partition(":")[0] for row in found] == ["not fired", "promoted", "skipped", "refused"]
    assert found[1].outcome == "promoted: plankton-v2"
    assert [row.dataset_tag for row in found] == [None, "v1.1.0", None, "v1.2.0"]
    assert [row.model_version for row in found] == [1, 1, 2, 2]
    assert found[1].new_labels == 4
    assert all(row.flow_run_id for row in found)

    replay = run_command(retrain, "--backtest")
    assert replay.code == 0, replay.err
    assert "with 1 alerts, 8 labels and 2 deployments on record" in replay.out
    assert "nothing was written" in replay.out
    assert len(decisions(database)) == len(found)


def test_backtest_when_the_config_has_no_policy_then_says_so(settings: Settings, write_config: WriteConfig) -> None:
    failed = run_command(write_config("train"), "--backtest")
    assert failed.code == 2
    assert "flows.train_flow has none" in failed.err


def test_backtest_when_there_is_no_history_then_makes_no_database(
    settings: Settings, write_config: WriteConfig
) -> None:
    printed = run_command(write_config("retrain"), "--backtest")
    assert printed.code == 0, printed.err
    assert "0 trainings by policy" in printed.out
    assert not settings.state_dir.exists()
