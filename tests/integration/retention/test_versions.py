"""Versions with their bundles grow old: what is pointed at stays, no reader sees half, a cut-off run is finished."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from onsight.bundle import list_bundles, load_bundle
from onsight.config import VersionRetention
from onsight.db import WorkerReport, open_database, record_desired, report_worker, upgrade
from onsight.domain import GateVerdict, Interval, ModelVersion
from onsight.errors import StorageError
from onsight.registry import PromotionEvidence, open_registry, record_promotion
from onsight.retention import Place, Share, collect_versions, stored_versions
from onsight.settings import Settings
from onsight.storage import open_store
from tests.servers.bundle import publish_small

LATER = datetime.now(UTC) + timedelta(days=200)
RULE = VersionRetention(keep_newest=1, days=90)
N = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six versions of the model `cells`, registered and published, and some of another program's model."""
    root = tmp_path_factory.mktemp("made")
    for version in range(1, N + 1):
        publish_small(root / "storage", version, tmp_path_factory.mktemp("parts"))
    settings = Settings(state_dir=root / "state", MLFLOW_TRACKING_URI=f"sqlite:///{root}/state/mlflow.db")
    database = open_database(settings.predictions_database_url)
    upgrade(database)
    database.close()
    client = MlflowClient(settings.mlflow_tracking_uri)
    for name, count, tags in (("cells", N, {"dataset_tag": "v1.0.0"}), ("foreign", 3, {})):
        client.create_registered_model(name)
        for _ in range(count):
            client.create_model_version(name, (root / "model").as_uri(), tags=tags)
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A copy of the test's own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    settings = Settings(state_dir=tmp_path / "state", central_storage_url=str(tmp_path / "storage"))
    database = open_database(settings.predictions_database_url)
    yield Place(database, open_registry(settings), open_store(settings))
    database.close()


def collect(place: Place, *, apply: bool, rule: VersionRetention = RULE) -> Share:
    return collect_versions(place, stored_versions(place), rule, LATER, apply=apply)


def registered(place: Place) -> list[str]:
    return [version.bundle_name for version in place.registry.versions()]


def files(place: Place, tmp_path: Path) -> list[str]:
    return sorted(path.as_posix() for path in (tmp_path / "storage").rglob("*") if path.is_file())


def promote(place: Place, version: int, replaced: int | None) -> None:
    known = {entry.bundle_name: entry for entry in place.registry.versions()}
    half = Interval(0.5, 0.4, 0.6)
    verdict = GateVerdict(True, ("better",), "accuracy", f"cells-v{version}", half)
    former: ModelVersion | None = known[f"cells-v{replaced}"] if replaced else None
    evidence = PromotionEvidence("mcnemar", 10, {"accuracy": half}, "made", "v1.0.0", "0" * 40, former)
    record_promotion(place.store, verdict, known[f"cells-v{version}"], evidence)
    place.registry.set_alias("cells", "champion", version)


def test_collect_versions_when_dry_then_names_them_and_changes_nothing(place: Place, tmp_path: Path) -> None:
    before = files(place, tmp_path), registered(place)
    share = collect(place, apply=False)
    assert share.names == tuple(f"cells-v{version}" for version in range(1, N))
    assert share.size_bytes
    assert (files(place, tmp_path), registered(place)) == before


def test_collect_versions_when_applied_then_what_is_pointed_at_stays(place: Place, tmp_path: Path) -> None:
    promote(place, 2, replaced=1)
    record_desired(place.database, "cells", 3, requested_by="kim", reason="")
    # From the future: a slow machine must not make it look dead.
    worker = WorkerReport("worker-1", "host", 1, "cells-v4", 1, "", LATER)
    report_worker(place.database, worker)
    size_before = place.store.size_bytes("models")

    share = collect(place, apply=True)

    assert share.names == ("cells-v5",)
    assert share.kept == {
        "cells-v1": "a promotion record names it",
        "cells-v2": "it is the champion",
        "cells-v3": "it is to be served",
        "cells-v4": "worker-1 serves it",
    }
    assert list_bundles(place.store) == [f"cells-v{version}" for version in (1, 2, 3, 4, 6)]
    assert registered(place) == [*list_bundles(place.store), "foreign-v1", "foreign-v2", "foreign-v3"]
    assert not [path for path in files(place, tmp_path) if "cells-v5" in path]
    assert 0 < size_before - place.store.size_bytes("models") < (share.size_bytes or 0)
    for name in list_bundles(place.store):
        load_bundle(place.store, name, tmp_path / "cache")
    assert collect(place, apply=True).names == ()


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (VersionRetention(keep_newest=N, days=1), ()),
        (VersionRetention(keep_newest=1, days=300), ()),
        (VersionRetention(keep_newest=4, days=1), ("cells-v1", "cells-v2")),
    ],
)
def test_collect_versions_when_they_are_new_enough_then_keeps_them(
    place: Place, rule: VersionRetention, wanted: tuple[str, ...]
) -> None:
    assert collect(place, apply=True, rule=rule).names == wanted


@pytest.mark.parametrize("survives", range(6))
def test_collect_versions_when_cut_off_then_no_half_bundle_is_seen_and_the_next_run_finishes(
    place: Place, tmp_path: Path, survives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bundle takes five deletions in storage: the cut falls before each, and into the second bundle."""
    delete, left = type(place.store).delete, [survives]

    def cut_off(store: object, key: str) -> None:
        if not left[0]:
            raise StorageError("no power")
        left[0] -= 1
        delete(store, key)  # type: ignore[arg-type]

    rule = VersionRetention(keep_newest=4, days=1)
    with monkeypatch.context() as patched:
        patched.setattr(type(place.store), "delete", cut_off)
        with pytest.raises(StorageError):
            collect(place, apply=True, rule=rule)
    for name in list_bundles(place.store):
        load_bundle(place.store, name, tmp_path / "cache")

    collect(place, apply=True, rule=rule)

    assert [name for name in registered(place) if name.startswith("cells")] == [f"cells-v{n}" for n in (3, 4, 5, 6)]
    assert not [path for path in files(place, tmp_path) if "cells-v1" in path or "cells-v2" in path]


def test_collect_versions_when_one_is_deployed_meanwhile_then_it_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = stored_versions(place)
    delete = type(place.registry).delete_version

    def deploy_then_delete(registry: object, name: str, version: int) -> None:
        record_desired(place.database, "cells", 3, requested_by="kim", reason="back to an old one")
        delete(registry, name, version)  # type: ignore[arg-type]

    monkeypatch.setattr(type(place.registry), "delete_version", deploy_then_delete)
    share = collect_versions(place, versions, RULE, LATER, apply=True)
    assert share.names == ("cells-v1", "cells-v2", "cells-v4", "cells-v5")
    assert "cells-v3" in list_bundles(place.store)


def test_collect_versions_when_a_promotion_record_is_damaged_then_removes_nothing(place: Place) -> None:
    place.store.put_bytes("promotions/cells/20260101T000000.0Z-v1.json", b"{")
    with pytest.raises(StorageError, match="promotion record"):
        collect(place, apply=True)
    assert len(list_bundles(place.store)) == N


def test_stored_versions_when_a_bundle_is_not_registered_then_its_metadata_says_how_old_it_is(place: Place) -> None:
    place.registry.delete_version("cells", 2)
    (found,) = [version for version in stored_versions(place) if version.version == 2]
    assert found.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert "cells-v2" in collect(place, apply=True).names
