"""Which model is served, with bundles made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from onsight.bundle import Bundle
from onsight.db import Database, newest_desired, open_database, record_desired, upgrade
from onsight.domain import BundleMetadata, ModelOutput
from onsight.errors import BundleError, DependencyError
from services.dl_service.errors import NoModelError
from services.dl_service.models import DesiredMemory, ModelControl


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
    models = ModelControl(load, database, memory)
    models.restore()

    with pytest.raises(NoModelError, match="ever deployed"):
        _ = models.current


def test_update_serves_records_and_remembers(database: Database, memory: DesiredMemory) -> None:
    models = ModelControl(load, database, memory)

    first = models.update("cells-v1", "me", "why")
    second = models.update("cells-v2", "me", "why")

    assert (first.previous, second.previous, models.current.name) == (None, "cells-v1", "cells-v2")
    desired = models.desired()
    assert desired is not None
    assert desired.bundle_name == memory.recall() == "cells-v2"


def test_update_that_fails_to_load_changes_nothing(database: Database, memory: DesiredMemory) -> None:
    models = ModelControl(load, database, memory)
    models.update("cells-v1", "me", "")

    with pytest.raises(BundleError):
        models.update("cells-v9", "me", "")

    assert models.current.name == memory.recall() == "cells-v1"
    desired = newest_desired(database)
    assert desired is not None
    assert desired.bundle_name == "cells-v1"


def test_update_that_cannot_be_recorded_changes_nothing(down: Database, memory: DesiredMemory) -> None:
    models = ModelControl(load, down, memory)

    with pytest.raises(DependencyError):
        models.update("cells-v1", "me", "")

    assert memory.recall() is None
    with pytest.raises(NoModelError):
        _ = models.current


def test_restore_serves_the_newest_wish(database: Database, memory: DesiredMemory) -> None:
    memory.remember("cells-v1")
    record_desired(database, "cells", 2, requested_by="another replica", reason="")
    models = ModelControl(load, database, memory)

    models.restore()

    assert models.current.name == memory.recall() == "cells-v2"


def test_restore_of_a_bundle_that_does_not_load_starts_without_a_model(
    database: Database, memory: DesiredMemory
) -> None:
    record_desired(database, "cells", 9, requested_by="me", reason="")
    models = ModelControl(load, database, memory)

    models.restore()

    with pytest.raises(NoModelError, match="cells-v9 could not be loaded"):
        _ = models.current


def test_restore_without_database_and_memory_says_which_is_missing(down: Database, memory: DesiredMemory) -> None:
    models = ModelControl(load, down, memory)

    models.restore()

    with pytest.raises(NoModelError, match="database"):
        _ = models.current


def test_restore_without_database_serves_what_is_remembered(down: Database, memory: DesiredMemory) -> None:
    memory.remember("cells-v1")
    models = ModelControl(load, down, memory)

    models.restore()

    assert models.current.name == "cells-v1"


@pytest.mark.parametrize(
    "broken",
    [bundle("cells-v1", answer=float("nan")), bundle("cells-v1", error=RuntimeError("out of memory"))],
    ids=["nan", "raises"],
)
def test_check_answer_of_a_model_that_does_not_answer_fails(
    database: Database, memory: DesiredMemory, broken: Bundle
) -> None:
    models = ModelControl(lambda _: broken, database, memory)
    models.update("cells-v1", "me", "")

    with pytest.raises(NoModelError):
        models.check_answer()


def test_memory_on_a_disk_that_fails_costs_no_update(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    models = ModelControl(load, database, DesiredMemory(tmp_path / "file" / "desired.json"))

    models.update("cells-v1", "me", "")

    assert models.current.name == "cells-v1"


@pytest.mark.parametrize("content", ["", "[]", '{"other": 1}', "null"])
def test_memory_that_is_damaged_recalls_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "desired.json"
    path.write_text(content)

    assert DesiredMemory(path).recall() is None
