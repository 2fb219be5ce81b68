"""Small data sets of real photographs, imported once and copied for each test; no git settings but their own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from onsight.config.dataset import DatasetConfig
from onsight.datasets import ImportRequest, add_reviewed, checkout_dataset, import_dataset
from onsight.db import (
    Database,
    PredictionRecord,
    ReviewItem,
    ReviewItemRow,
    add_review_items,
    decide_review_item,
    insert_records,
    new_opinion,
    open_database,
    upgrade,
    uuid7,
)
from onsight.domain import DatasetVersion
from onsight.image_archive import ArchivePolicy, ImageArchive

Shell = Callable[..., str]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HELD_BACK = 4  # photographs of each class that `small_sets` lack


@pytest.fixture(scope="session", autouse=True)
def bare_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine where git knows no committer and DVC has no caches."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        patch.setenv("DVC_SITE_CACHE_DIR", str(home / "dvc"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, plankton_folder: Path) -> Path:
    """A folder of data sets that holds plankton with v1.0.0 (four classes) and v2.0.0 (all six)."""
    ds_root = tmp_path_factory.mktemp("imported")
    four = ds_root / "source"
    for folder in sorted(plankton_folder.iterdir())[:4]:
        shutil.copytree(folder, four / folder.name)
    import_dataset(ImportRequest(four, "plankton", ds_root, seed=1))
    import_dataset(ImportRequest(plankton_folder, "plankton", ds_root, seed=1, tag="v2.0.0"))
    shutil.rmtree(four)
    return ds_root


@pytest.fixture
def ds_root(imported: Path, tmp_path: Path) -> Path:
    """The test's own copy of the imported data sets."""
    return Path(shutil.copytree(imported, tmp_path / "datasets", symlinks=True))


@pytest.fixture
def root(ds_root: Path) -> Path:
    return ds_root / "plankton"


@pytest.fixture
def config(ds_root: Path) -> Callable[..., DatasetConfig]:
    """Makes the config section, for v2.0.0 unless told otherwise."""

    def make(**options: object) -> DatasetConfig:
        return DatasetConfig.model_validate({"ds_root": ds_root, "ds_name": "plankton", "dvc_tag": "v2.0.0", **options})

    return make


@pytest.fixture
def git(root: Path) -> Shell:
    """Runs git in the data set, as its user would."""

    return lambda *arguments: _git(root, *arguments)


def _git(root: Path, *arguments: str) -> str:
    someone = ("-c", "user.name=Someone", "-c", "user.email=someone@here")
    return subprocess.run(
        ["git", *someone, *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(scope="session")
def small_sets(tmp_path_factory: pytest.TempPathFactory, plankton_folder: Path) -> Path:
    """A folder of data sets with `plankton`, all six classes but a few photographs of each."""
    ds_root = tmp_path_factory.mktemp("small")
    for folder in sorted(plankton_folder.iterdir()):
        (ds_root / "source" / folder.name).mkdir(parents=True)
        for path in sorted(folder.glob("*.jpg"))[HELD_BACK:]:
            shutil.copy(path, ds_root / "source" / folder.name)
    import_dataset(ImportRequest(ds_root / "source", "plankton", ds_root, seed=1, tag="v2.0.0"))
    shutil.rmtree(ds_root / "source")
    return ds_root


@dataclass
class World:
    """A data set, and the review queue of the model that was trained on it."""

    ds_root: Path
    database: Database
    archive: ImageArchive

    def review(
        self, content: bytes, *labels: str, person: str = "ann", model: str = "plankton", kept: bool = True
    ) -> str:
        """One prediction that somebody has labelled."""
        sha256 = hashlib.sha256(content).hexdigest()
        record = PredictionRecord(
            prediction_id=uuid7(), request_id="r", model_name=model, model_version=3, created_at=NOW,
            probabilities=[1.0], top_class="x", confidence=1.0, uae_feats=[0.0], bbsd_feats=[0.0], image_sha256=sha256,
            image_bytes=len(content), image_width=1, image_height=1, image_format="JPEG", client="::1", timings_ms={},
        )  # fmt: skip
        insert_records(self.database, [record])
        if kept:
            self.archive.keep(sha256, content)
        add_review_items(self.database, [ReviewItem(record.prediction_id, model, 3, "uncertain", 1.0, NOW)])
        opinion = new_opinion(record.prediction_id, labels, person, NOW, "review")
        assert decide_review_item(self.database, record.prediction_id, person, opinion)
        return record.prediction_id

    def add(self, **options: Any) -> str | None:
        return add_reviewed(self.database, self.archive, self.ds_root, "plankton", **options)

    @property
    def root(self) -> Path:
        return self.ds_root / "plankton"

    def git(self, *arguments: str) -> str:
        """Git in the data set, as its user would run it."""
        return _git(self.root, *arguments)

    def read(self, tag: str = "v2.1.0") -> DatasetVersion:
        return checkout_dataset(DatasetConfig(ds_root=self.ds_root, ds_name="plankton", dvc_tag=tag))

    def states(self) -> dict[str, tuple[str, str | None]]:
        """Status and tag by prediction."""
        query = select(ReviewItemRow.prediction_id, ReviewItemRow.status, ReviewItemRow.dataset_tag)
        with self.database.transaction() as connection:
            return {name: (status, tag) for name, status, tag in connection.execute(query)}

    def split_of(self, prediction_id: str, tag: str = "v2.1.0") -> tuple[str, str]:
        """Split and class folder of a prediction's image."""
        splits = self.read(tag).splits.values()
        (path,) = [path for split in splits for path in split.paths if path.stem == prediction_id]
        return path.parts[-3], path.parts[-2]


@pytest.fixture
def world(small_sets: Path, tmp_path: Path) -> Iterator[World]:
    ds_root = Path(shutil.copytree(small_sets, tmp_path / "datasets", symlinks=True))
    database = open_database(f"sqlite:///{tmp_path}/state/predictions.db")
    upgrade(database)
    archive = ImageArchive(tmp_path / "state" / "dl_service" / "images", ArchivePolicy())
    archive.start()
    yield World(ds_root, database, archive)
    archive.close()
    database.close()


@pytest.fixture
def fresh(plankton_folder: Path) -> list[tuple[bytes, str]]:
    """Photographs that the data set lacks, with their classes."""
    return [
        (path.read_bytes(), folder.name)
        for folder in sorted(plankton_folder.iterdir())
        for path in sorted(folder.glob("*.jpg"))[:HELD_BACK]
    ]
