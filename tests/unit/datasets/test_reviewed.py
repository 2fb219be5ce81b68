"""Reviewed photographs in a real git + DVC data set: where they go, what stays out, and nothing half-made."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from sqlalchemy import select

from onsight.config.dataset import DatasetConfig
from onsight.datasets import ImportRequest, add_reviewed, checkout_dataset, import_dataset
from onsight.datasets.__main__ import main
from onsight.datasets.repository import DatasetRepository
from onsight.db import (
    Database,
    PredictionRecord,
    ReviewItem,
    ReviewItemRow,
    add_review_items,
    decide_review_item,
    insert_predictions,
    new_opinion,
    open_database,
    upgrade,
    uuid7,
)
from onsight.domain import DatasetVersion
from onsight.errors import DatasetError
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.validation import validate_dataset

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HELD_BACK = 4  # photographs of each class that the data set lacks


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


@pytest.fixture
def ds_root(small_sets: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_sets, tmp_path / "datasets", symlinks=True))


@dataclass
class World:
    """A data set, and the review queue of the model that was trained on it."""

    ds_root: Path
    database: Database
    archive: ImageArchive

    def review(self, content: bytes, *labels: str, person: str = "ann", model: str = "plankton", kept: bool = True) -> str:
        """One prediction that somebody has labelled."""
        sha256 = hashlib.sha256(content).hexdigest()
        record = PredictionRecord(
            prediction_id=str(uuid7()), request_id="r", model_name=model, model_version=3, created_at=NOW,
            probabilities=[1.0], top_class="x", confidence=1.0, uae_feats=[0.0], bbsd_feats=[0.0], image_sha256=sha256,
            image_bytes=len(content), image_width=1, image_height=1, image_format="JPEG", client="::1", timings_ms={},
        )  # fmt: skip
        insert_predictions(self.database, [record])
        if kept:
            self.archive.keep(sha256, content)
        add_review_items(self.database, [ReviewItem(record.prediction_id, model, 3, "uncertain", 1.0, NOW)])
        opinion = new_opinion(record.prediction_id, labels, person, NOW, "review")
        assert decide_review_item(self.database, record.prediction_id, person, opinion)
        return record.prediction_id

    def add(self, **options: Any) -> str | None:
        return add_reviewed(self.database, self.archive, self.ds_root, "plankton", **options)

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
def world(ds_root: Path, tmp_path: Path) -> Iterator[World]:
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


def retaken(content: bytes) -> bytes:
    """Another file of the same photograph: smaller, and compressed more."""
    with Image.open(io.BytesIO(content)) as image:
        smaller = image.convert("RGB").resize((max(32, image.width * 3 // 4), max(32, image.height * 3 // 4)))
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def test_labelled_images_become_the_next_version(world: World, fresh: list[tuple[bytes, str]]) -> None:
    before = world.read("v2.0.0")
    labelled = {world.review(content, label): label for content, label in fresh}

    assert world.add() == "v2.1.0"

    after = world.read()
    assert after.split_sizes()["test"] == before.split_sizes()["test"]
    assert sum(after.split_sizes().values()) == sum(before.split_sizes().values()) + len(fresh)
    assert {name: world.split_of(name)[1] for name in labelled} == labelled
    assert {world.split_of(name)[0] for name in labelled} == {"train", "valid"}
    assert set(world.states().values()) == {("labelled", "v2.1.0")}
    root = world.ds_root / "plankton"
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "describe", "--tags") == "v2.1.0"
    assert git(root, "branch", "--show-current") == "main"
    assert not [path for path in world.ds_root.iterdir() if path.name.endswith(".adding")]


def test_every_image_is_byte_for_byte_and_says_where_it_came_from(world: World, fresh: list[tuple[bytes, str]]) -> None:
    content, label = fresh[0]
    name = world.review(content, label)
    world.add()

    (path,) = (world.ds_root / "plankton" / "images").glob(f"*/*/{name}.jpg")
    metadata = yaml.safe_load((world.ds_root / "plankton" / "metadata.yml").read_text())
    assert path.read_bytes() == content
    assert metadata["reviewed"] == {
        f"{name}.jpg": {
            "prediction_id": name,
            "model": "plankton-v3",
            "labelled_by": ["ann"],
            "labelled_at": "2026-03-01T12:00:00+00:00",
            "image_sha256": hashlib.sha256(content).hexdigest(),
            "version": "v2.1.0",
        }
    }
    assert (metadata["version"], metadata["images"]) == ("v2.1.0", sum(metadata["split_sizes"].values()))
    assert metadata["seed"] == 1  # what the version before said stays


def test_the_version_can_be_restored_from_the_remote(world: World, fresh: list[tuple[bytes, str]]) -> None:
    world.review(*fresh[0])
    world.add()
    root = world.ds_root / "plankton"
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(root / "images")

    assert sum(world.read().split_sizes().values()) == yaml.safe_load((root / "metadata.yml").read_text())["images"]


def test_a_second_version_adds_to_the_first(world: World, fresh: list[tuple[bytes, str]]) -> None:
    first = world.review(*fresh[0])
    world.add()
    assert world.add() is None
    second = world.review(*fresh[5])

    assert world.add() == "v2.2.0"

    metadata = yaml.safe_load((world.ds_root / "plankton" / "metadata.yml").read_text())
    assert {entry["prediction_id"]: entry["version"] for entry in metadata["reviewed"].values()} == {
        first: "v2.1.0", second: "v2.2.0",
    }  # fmt: skip
    assert world.states() == {first: ("labelled", "v2.1.0"), second: ("labelled", "v2.2.0")}


@pytest.mark.parametrize("change", [bytes, retaken], ids=["a copy", "a near duplicate"])
def test_what_test_shows_never_comes_in(
    world: World, fresh: list[tuple[bytes, str]], change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    tests = world.read("v2.0.0").splits["test"].paths[:5]
    shown = [world.review(change(path.read_bytes()), path.parent.name) for path in tests]
    other = world.review(*fresh[0])

    assert world.add() == "v2.1.0"

    states = world.states()
    assert {states[name] for name in shown} == {("excluded", None)}
    assert states[other] == ("labelled", "v2.1.0")
    assert "of a test image are left out" in caplog.text
    assert all(name in caplog.text for name in shown)


def test_validation_finds_no_leak_into_test(world: World, fresh: list[tuple[bytes, str]], tmp_path: Path) -> None:
    from onsight.config import ModelConfig, ValidationConfig

    for path in world.read("v2.0.0").splits["train"].paths[:5]:
        world.review(retaken(path.read_bytes()), path.parent.name)
    for content, label in fresh:
        world.review(content, label)
    world.add()
    dataset = world.read()
    model = ModelConfig.model_validate(
        {"model_name": "p", "input_size": {"w": 32, "h": 32}, "classes": dataset.classes, "architecture": "small_cnn"}
    )

    verdict = validate_dataset(dataset, model, ValidationConfig(deepchecks_suite="off"), tmp_path / "report")

    assert not [finding for finding in verdict.findings if "duplicates" in finding.check]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_near_duplicate_comes_into_the_split_of_its_like(world: World, split: str) -> None:
    paths = world.read("v2.0.0").splits[split].paths[:4]
    names = [world.review(retaken(path.read_bytes()), path.parent.name) for path in paths]
    world.add()

    assert {world.split_of(name)[0] for name in names} == {split}


def test_what_cannot_come_in_is_left_out_and_said(
    world: World, fresh: list[tuple[bytes, str]], caplog: pytest.LogCaptureFixture
) -> None:
    known = world.read("v2.0.0").splits["train"].paths[0]
    left_out = {
        world.review(fresh[0][0], "no such class"): "is no class of the data set",
        world.review(fresh[1][0], fresh[0][1], fresh[5][1]): "other than one label",
        world.review(fresh[2][0], fresh[2][1], kept=False): "no longer in the image archive",
        world.review(b"text", fresh[3][1]): "cannot be read",
        world.review(known.read_bytes(), known.parent.name): "copies of an image of the data set",
        world.review(fresh[6][0], fresh[6][1]): "contradicting",
        world.review(fresh[6][0], fresh[0][1]): "contradicting",
    }
    once = world.review(fresh[7][0], fresh[7][1])
    twice = world.review(fresh[7][0], fresh[7][1])

    assert world.add() == "v2.1.0"

    lines = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    for name, why in left_out.items():
        assert any(name in line and why in line for line in lines), why
    assert world.states()[once] == ("labelled", "v2.1.0")
    assert world.states()[twice] == ("excluded", None)
    assert world.add() is None


def test_nothing_labelled_changes_nothing(world: World) -> None:
    assert world.add() is None
    assert git(world.ds_root / "plankton", "describe", "--tags") == "v2.0.0"


def test_labels_of_several_models_need_a_name(world: World, fresh: list[tuple[bytes, str]]) -> None:
    mine = world.review(*fresh[0])
    world.review(*fresh[1], model="other")

    with pytest.raises(DatasetError, match="other, plankton"):
        world.add()

    assert world.add(model_name="plankton", tag="reviewed-1") == "reviewed-1"
    assert world.states()[mine] == ("labelled", "reviewed-1")


def test_uncommitted_work_and_unknown_data_sets_are_refused(world: World, fresh: list[tuple[bytes, str]]) -> None:
    world.review(*fresh[0])
    root = world.ds_root / "plankton"
    (root / "annotation_df.csv").write_text("mine")

    with pytest.raises(DatasetError, match="uncommitted changes"):
        world.add()
    with pytest.raises(DatasetError, match="no data set"):
        add_reviewed(world.database, world.archive, world.ds_root, "nothing")

    assert (root / "annotation_df.csv").read_text() == "mine"


def test_a_failure_brings_the_version_before_back(
    world: World, fresh: list[tuple[bytes, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.review(*fresh[0])
    with monkeypatch.context() as patch:
        def fail(*_: object) -> str:
            raise DatasetError("the remote is full")

        patch.setattr(DatasetRepository, "add_version", fail)
        with pytest.raises(DatasetError, match="remote is full"):
            world.add()

    root = world.ds_root / "plankton"
    assert git(root, "status", "--porcelain") == ""
    assert not list(root.glob(f"images/*/*/{name}.*"))
    assert world.states() == {name: ("labelled", None)}
    assert world.add() == "v2.1.0"


KILLED = """
import os, signal, sys
from pathlib import Path
from onsight.datasets import add_reviewed
from onsight.datasets.repository import DatasetRepository
from onsight.db import open_database
from onsight.image_archive import ArchivePolicy, ImageArchive
import onsight.datasets.reviewed as reviewed
from onsight.datasets.git import Git

moment, state, ds_root = sys.argv[1:]
real_run, real_add = Git.run, DatasetRepository.add_version
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
if moment == "after the images": DatasetRepository.add_version = die
if moment == "before the tag": Git.run = lambda git, *a: die() if a[0] == "tag" and "--annotate" in a else real_run(git, *a)
if moment == "after the tag": reviewed.mark_reviewed = lambda database, items: die() if list(items) else None
add_reviewed(open_database(f"sqlite:///{state}/predictions.db"),
             ImageArchive(Path(state) / "dl_service/images", ArchivePolicy()), Path(ds_root), "plankton")
"""


@pytest.mark.parametrize("moment", ["after the images", "before the tag", "after the tag"])
def test_a_process_that_is_killed_leaves_what_the_next_call_finishes(
    world: World, fresh: list[tuple[bytes, str]], moment: str, tmp_path: Path
) -> None:
    names = [world.review(*one) for one in fresh[:3]]
    world.archive.close()  # all of them are on the disk
    command = [sys.executable, "-c", KILLED, moment, str(tmp_path / "state"), str(world.ds_root)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL

    assert world.add() == "v2.1.0"

    root = world.ds_root / "plankton"
    assert world.states() == dict.fromkeys(names, ("labelled", "v2.1.0"))
    assert sorted(path.stem for path in root.glob("images/*/*/*-*-*.jpg") if path.stem in names) == sorted(names)
    assert git(root, "log", "--format=%s").count("reviewed images") == 1
    assert world.add() is None


def test_work_that_followed_a_kill_is_not_lost(world: World, fresh: list[tuple[bytes, str]]) -> None:
    world.review(*fresh[0])
    root = world.ds_root / "plankton"
    journal = {"before": "0" * 40, "tag": "v9.0.0", "files": ["images/train/none/none.jpg"]}
    (world.ds_root / ".plankton.adding").write_text(json.dumps(journal))
    (root / "notes.txt").write_text("mine")

    with pytest.raises(DatasetError, match="uncommitted changes"):
        world.add()

    assert (root / "notes.txt").read_text() == "mine"


def test_the_command_adds_and_reports(
    world: World, fresh: list[tuple[bytes, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONSIGHT_STATE_DIR", str(world.archive._folder.parents[1]))
    world.review(*fresh[0])
    world.archive.close()
    arguments = ["add-reviewed", "--name", "plankton", "--ds-root", str(world.ds_root)]

    assert main(arguments) == 0
    assert "plankton v2.1.0" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "nothing new" in capsys.readouterr().out
    assert main([*arguments[:2], "nothing", *arguments[3:]]) == 0  # no label waits
