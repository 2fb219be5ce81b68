"""Which model is served, with bundles made on the spot."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from onsight.bundle import Bundle
from onsight.db import (
    Database,
    WorkerReport,
    forget_worker,
    live_workers,
    newest_desired,
    open_database,
    record_desired,
    record_rollback,
    report_worker,
    upgrade,
)
from onsight.db.workers import ALIVE_WITHIN_S
from onsight.domain import BundleMetadata, ModelOutput
from onsight.errors import BundleError, DependencyError, OnsightError, StorageError
from services.dl_service.desired_memory import DesiredMemory
from services.dl_service.errors import NoModelError, NothingToRollBackError
from services.dl_service.follower import Follower, existing_workers, is_converged
from services.dl_service.models import ModelControl
from services.dl_service.probation import ProbationRules, ServingRecord, find_fault

RULES = ProbationRules(requests=50, max_failed_share=0.1, max_slowdown=5.0)


def bundle(name: str, *, answer: float = 0.5, error: Exception | None = None) -> Bundle:
    """A bundle whose network always gives the same probability."""
    model_name, _, version = name.rpartition("-v")

    def run(images: np.ndarray[Any, Any]) -> ModelOutput:
        if error is not None:
            raise error
        numbers = np.full((len(images), 2), answer, dtype=np.float32)
        return ModelOutput(numbers, numbers, numbers, np.zeros((len(images), 1, 1), dtype=np.float32))

    metadata = SimpleNamespace(
        model_name=model_name, version=int(version), bundle_name=name, created_at=datetime.now(UTC)
    )
    golden = SimpleNamespace(images=np.zeros((1, 2, 2, 3), dtype=np.uint8))
    return Bundle(cast("BundleMetadata", metadata), cast("Any", SimpleNamespace(run=run)), cast("Any", golden))


def load(name: str) -> Bundle:
    if name.endswith("-v9"):
        raise BundleError("damaged")
    return bundle(name)


def control(load: Callable[[str], Bundle], database: Database, memory: DesiredMemory) -> ModelControl:
    return ModelControl(load, database, memory, RULES, lambda _: None)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/predictions.db")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def memory(tmp_path: Path) -> DesiredMemory:
    return DesiredMemory(tmp_path / "memory" / "desired.json")


@pytest.fixture
def down() -> Iterator[Database]:
    opened = open_database("postgresql://someone@127.0.0.1:1/none")
    yield opened
    opened.close()


def test_current_when_nothing_was_deployed_says_so(database: Database, memory: DesiredMemory) -> None:
    models = control(load, database, memory)
    models.restore()

    with pytest.raises(NoModelError, match="ever deployed"):
        _ = models.current


def test_update_serves_records_and_remembers(database: Database, memory: DesiredMemory) -> None:
    models = control(load, database, memory)

    first = models.update("cells-v1", "me", "why")
    second = models.update("cells-v2", "me", "why")

    assert (first.bundle_name, second.bundle_name, models.current.name) == ("cells-v1", "cells-v2", "cells-v2")
    desired = newest_desired(database)
    assert desired == second
    assert desired.bundle_name == memory.recall() == "cells-v2"


def test_update_that_fails_to_load_changes_nothing(database: Database, memory: DesiredMemory) -> None:
    models = control(load, database, memory)
    models.update("cells-v1", "me", "")

    with pytest.raises(BundleError):
        models.update("cells-v9", "me", "")

    assert models.current.name == memory.recall() == "cells-v1"
    desired = newest_desired(database)
    assert desired is not None
    assert desired.bundle_name == "cells-v1"


def test_update_that_cannot_be_recorded_changes_nothing(down: Database, memory: DesiredMemory) -> None:
    models = control(load, down, memory)

    with pytest.raises(DependencyError):
        models.update("cells-v1", "me", "")

    assert memory.recall() is None
    with pytest.raises(NoModelError):
        _ = models.current


def test_restore_serves_the_newest_wish(database: Database, memory: DesiredMemory) -> None:
    memory.remember("cells-v1")
    record_desired(database, "cells", 2, requested_by="another replica", reason="")
    models = control(load, database, memory)

    models.restore()

    assert models.current.name == memory.recall() == "cells-v2"


def test_restore_of_a_bundle_that_does_not_load_starts_without_a_model(
    database: Database, memory: DesiredMemory
) -> None:
    record_desired(database, "cells", 9, requested_by="me", reason="")
    models = control(load, database, memory)

    models.restore()

    with pytest.raises(NoModelError, match="cells-v9 could not be loaded"):
        _ = models.current


def test_restore_without_database_and_memory_says_which_is_missing(down: Database, memory: DesiredMemory) -> None:
    models = control(load, down, memory)

    models.restore()

    with pytest.raises(NoModelError, match="database"):
        _ = models.current


def test_restore_without_database_serves_what_is_remembered(down: Database, memory: DesiredMemory) -> None:
    memory.remember("cells-v1")
    models = control(load, down, memory)

    models.restore()

    assert models.current.name == "cells-v1"


BROKEN = pytest.mark.parametrize(
    "broken",
    [bundle("cells-v1", answer=float("nan")), bundle("cells-v1", error=RuntimeError("out of memory"))],
    ids=["nan", "raises"],
)


@BROKEN
def test_update_to_a_model_that_does_not_answer_is_refused(
    database: Database, memory: DesiredMemory, broken: Bundle
) -> None:
    models = control(lambda _: broken, database, memory)

    with pytest.raises(NoModelError):
        models.update("cells-v1", "me", "")

    assert newest_desired(database) is None


@BROKEN
def test_check_answer_of_a_model_that_does_not_answer_fails(
    database: Database, memory: DesiredMemory, broken: Bundle
) -> None:
    record_desired(database, "cells", 1, requested_by="me", reason="")
    models = control(lambda _: broken, database, memory)
    models.restore()

    with pytest.raises(NoModelError):
        models.check_answer()


def test_follow_serves_what_another_worker_recorded(database: Database, memory: DesiredMemory) -> None:
    here, there = control(load, database, memory), control(load, database, memory)
    here.update("cells-v1", "me", "")
    there.follow()
    wish = here.update("cells-v2", "me", "")

    there.follow()

    assert (there.name, there.seen_seq, there.problem) == ("cells-v2", wish.seq, "")


def test_follow_of_a_bundle_that_does_not_load_takes_it_back_everywhere(
    database: Database, memory: DesiredMemory
) -> None:
    def load_unless_second(name: str) -> Bundle:
        return load("cells-v9" if name == "cells-v2" else name)

    here, there = control(load, database, memory), control(load_unless_second, database, memory)
    here.update("cells-v1", "me", "")
    there.follow()
    here.update("cells-v2", "me", "")

    there.follow()
    here.follow()

    assert (here.name, there.name) == ("cells-v1", "cells-v1")
    newest = newest_desired(database)
    assert newest is not None
    assert (newest.kind, newest.bundle_name) == ("rollback", "cells-v1")
    assert "cells-v2 could not be loaded: damaged" in newest.reason


def test_restored_worker_without_a_model_tries_again_but_takes_nothing_back(
    database: Database, memory: DesiredMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def load_at_the_second_try(name: str) -> Bundle:
        tried.append(name)
        if len(tried) == 1:
            raise StorageError("the storage is away")
        return load(name)

    for version in (2, 1):
        record_desired(database, "cells", version, requested_by="me", reason="")
    models = control(load_at_the_second_try, database, memory)
    models.restore()
    assert models.name == ""
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 3600)

    models.follow()

    assert models.name == "cells-v1"
    newest = newest_desired(database)
    assert newest is not None
    assert newest.kind == "update"


def test_restored_worker_whose_bundle_is_damaged_takes_it_back(database: Database, memory: DesiredMemory) -> None:
    for version in (1, 9):
        record_desired(database, "cells", version, requested_by="me", reason="")
    models = control(load, database, memory)

    models.restore()

    assert models.name == "cells-v1"
    newest = newest_desired(database)
    assert newest is not None
    assert (newest.kind, newest.reason) == ("rollback", "cells-v9 could not be loaded: damaged")


def test_rollback_returns_step_by_step(database: Database, memory: DesiredMemory) -> None:
    models = control(load, database, memory)
    for version in (1, 2, 3):
        models.update(f"cells-v{version}", "me", "")

    served = [models.rollback("me", "").bundle_name, models.rollback("me", "").bundle_name]

    assert served == ["cells-v2", "cells-v1"]
    assert models.name == "cells-v1"
    with pytest.raises(NothingToRollBackError):
        models.rollback("me", "")


@pytest.mark.parametrize(
    ("second", "error"),
    [
        pytest.param(BundleError("damaged"), BundleError, id="damaged"),
        pytest.param(StorageError("away"), StorageError, id="storage away"),
        pytest.param(bundle("cells-v1", answer=float("nan")), NoModelError, id="no answer"),
    ],
)
def test_rollback_to_a_version_that_fails_changes_nothing(
    database: Database, memory: DesiredMemory, second: Bundle | OnsightError, error: type[OnsightError]
) -> None:
    loaded: list[str] = []

    def load_first_once(name: str) -> Bundle:
        loaded.append(name)
        if loaded.count("cells-v1") > 1:
            if isinstance(second, OnsightError):
                raise second
            return second
        return load(name)

    models = control(load_first_once, database, memory)
    models.update("cells-v1", "me", "")
    newest = models.update("cells-v2", "me", "")

    with pytest.raises(error):
        models.rollback("me", "")

    assert newest_desired(database) == newest
    assert models.name == memory.recall() == "cells-v2"


def test_record_rollback_of_a_wish_that_was_followed_by_another_does_nothing(database: Database) -> None:
    record_desired(database, "cells", 1, requested_by="me", reason="")
    wrong = record_desired(database, "cells", 2, requested_by="me", reason="")
    newer = record_desired(database, "cells", 3, requested_by="me", reason="")

    assert record_rollback(database, wrong, requested_by="probation", reason="") is None
    assert newest_desired(database) == newer


def test_judge_of_a_version_whose_requests_fail_takes_it_back(database: Database, memory: DesiredMemory) -> None:
    models = control(load, database, memory)
    models.update("cells-v1", "me", "")
    models.update("cells-v2", "me", "")
    models.current.record.note_failures(3)

    models.judge()

    assert models.name == "cells-v1"
    newest = newest_desired(database)
    assert newest is not None
    assert "3 of its first 3 images failed" in newest.reason


def test_judge_when_there_is_nothing_to_go_back_to_says_so_once(
    database: Database, memory: DesiredMemory, caplog: pytest.LogCaptureFixture
) -> None:
    models = control(load, database, memory)
    models.update("cells-v1", "me", "")
    models.current.record.note_failures(3)

    for _ in range(3):
        models.judge()

    assert models.name == "cells-v1"
    told = [record.message for record in caplog.records if "probation" in record.message]
    assert len(told) == 1
    assert told[0].endswith("3 of its first 3 images failed; there is nothing to go back to")


def test_judge_of_a_version_that_was_wished_for_twice_takes_the_newer_wish_back(
    database: Database, memory: DesiredMemory
) -> None:
    here, there = control(load, database, memory), control(load, database, memory)
    here.update("cells-v1", "me", "")
    here.update("cells-v2", "me", "")
    there.follow()
    before = there.current
    here.update("cells-v2", "me", "again")
    there.follow()
    assert there.current.record is before.record
    there.current.record.note_failures(3)

    there.judge()

    assert there.name == "cells-v1"
    newest = newest_desired(database)
    assert newest is not None
    assert (newest.kind, newest.bundle_name) == ("rollback", "cells-v1")


def test_judge_of_the_version_that_was_returned_to_leaves_it(database: Database, memory: DesiredMemory) -> None:
    models = control(load, database, memory)
    models.update("cells-v1", "me", "")
    models.update("cells-v2", "me", "")
    models.rollback("me", "")
    models.current.record.note_failures(30)

    models.judge()

    assert models.name == "cells-v1"


@pytest.mark.parametrize(
    ("before_ms", "now_ms", "n_batches", "is_fault"),
    [
        pytest.param(4.0, 30.0, 20, True, id="much slower"),
        pytest.param(4.0, 30.0, 19, False, id="too few to tell"),
        pytest.param(4.0, 30.0, 60, False, id="probation is over"),
        pytest.param(4.0, 12.0, 20, False, id="slower within the limit"),
        pytest.param(0.1, 4.0, 20, False, id="not noticeable"),
        pytest.param(None, 90.0, 20, False, id="nothing to compare with"),
    ],
)
def test_find_fault_of_times(before_ms: float | None, now_ms: float, n_batches: int, *, is_fault: bool) -> None:
    record = ServingRecord()
    for _ in range(n_batches):
        record.note_answers(1, now_ms)

    fault = find_fault(record, before_ms, RULES)

    assert bool(fault) == is_fault
    assert not is_fault or "7.5 times" in fault


@pytest.mark.parametrize(
    ("answered", "failed", "is_fault"),
    [(0, 2, False), (0, 3, True), (10, 3, False), (17, 3, True), (40, 3, False), (60, 30, False)],
)
def test_find_fault_of_failures(answered: int, failed: int, *, is_fault: bool) -> None:
    record = ServingRecord()
    record.note_answers(answered, answered * 1.0)
    record.note_failures(failed)

    assert bool(find_fault(record, 1.0, RULES)) == is_fault


def test_follower_reports_what_its_worker_serves(database: Database, memory: DesiredMemory) -> None:
    models = control(load, database, memory)
    follower = Follower(models, database)
    follower.announce()
    assert [worker.bundle_name for worker in live_workers(database)] == [""]
    wish = models.update("cells-v1", "me", "")

    follower.step()

    (worker,) = existing_workers(database, follower.replica)
    assert is_converged(worker, wish)
    follower.close()
    assert live_workers(database) == []


def test_existing_workers_leaves_out_a_process_of_this_host_that_died(database: Database) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for replica in ("here", "elsewhere"):
        report = WorkerReport(f"{replica}-1", replica, gone.pid, "cells-v1", 1, "", datetime.now(UTC))
        report_worker(database, report)

    assert [worker.replica for worker in existing_workers(database, "here")] == ["elsewhere"]


def test_existing_workers_keeps_one_that_was_seen_and_has_fallen_silent(database: Database) -> None:
    long_ago = datetime.now(UTC) - timedelta(seconds=2 * ALIVE_WITHIN_S)
    report_worker(database, WorkerReport("elsewhere-1", "elsewhere", 1, "cells-v1", 1, "", long_ago))

    assert existing_workers(database, "here") == []
    assert [worker.worker_id for worker in existing_workers(database, "here", ["elsewhere-1"])] == ["elsewhere-1"]
    forget_worker(database, "elsewhere-1")
    assert existing_workers(database, "here", ["elsewhere-1"]) == []


def test_memory_on_a_disk_that_fails_costs_no_update(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    models = control(load, database, DesiredMemory(tmp_path / "file" / "desired.json"))

    models.update("cells-v1", "me", "")

    assert models.current.name == "cells-v1"


@pytest.mark.parametrize("content", ["", "[]", '{"other": 1}', "null"])
def test_memory_that_is_damaged_recalls_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "desired.json"
    path.write_text(content)

    assert DesiredMemory(path).recall() is None
