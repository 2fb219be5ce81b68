"""Reviewed photographs in a real git + DVC data set: where they go, and what stays out."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from onsight.datasets import add_reviewed
from onsight.datasets.__main__ import main
from onsight.errors import DatasetError
from onsight.validation import validate_dataset
from tests.unit.datasets.conftest import World


def retaken(content: bytes) -> bytes:
    """Another file of the same photograph: smaller, and compressed more."""
    with Image.open(io.BytesIO(content)) as image:
        smaller = image.convert("RGB").resize((max(32, image.width * 3 // 4), max(32, image.height * 3 // 4)))
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


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
    root = world.root
    assert world.git("status", "--porcelain") == ""
    assert world.git("describe", "--tags") == "v2.1.0"
    assert world.git("branch", "--show-current") == "main"
    assert not [path for path in world.ds_root.iterdir() if path.name.endswith(".adding")]


def test_every_image_is_byte_for_byte_and_says_where_it_came_from(world: World, fresh: list[tuple[bytes, str]]) -> None:
    content, label = fresh[0]
    name = world.review(content, label)
    world.add()

    (path,) = (world.root / "images").glob(f"*/*/{name}.jpg")
    metadata = yaml.safe_load((world.root / "metadata.yml").read_text())
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
    root = world.root
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(root / "images")

    assert sum(world.read().split_sizes().values()) == yaml.safe_load((root / "metadata.yml").read_text())["images"]


def test_a_second_version_adds_to_the_first(world: World, fresh: list[tuple[bytes, str]]) -> None:
    first = world.review(*fresh[0])
    world.add()
    assert world.add() is None
    second = world.review(*fresh[5])

    assert world.add() == "v2.2.0"

    metadata = yaml.safe_load((world.root / "metadata.yml").read_text())
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
    assert world.git("describe", "--tags") == "v2.0.0"


def test_labels_of_several_models_need_a_name(world: World, fresh: list[tuple[bytes, str]]) -> None:
    mine = world.review(*fresh[0])
    world.review(*fresh[1], model="other")

    with pytest.raises(DatasetError, match="other, plankton"):
        world.add()

    assert world.add(model_name="plankton", tag="reviewed-1") == "reviewed-1"
    assert world.states()[mine] == ("labelled", "reviewed-1")


def test_uncommitted_work_and_unknown_data_sets_are_refused(world: World, fresh: list[tuple[bytes, str]]) -> None:
    world.review(*fresh[0])
    root = world.root
    (root / "annotation_df.csv").write_text("mine")

    with pytest.raises(DatasetError, match="uncommitted changes"):
        world.add()
    with pytest.raises(DatasetError, match="no data set"):
        add_reviewed(world.database, world.archive, world.ds_root, "nothing")

    assert (root / "annotation_df.csv").read_text() == "mine"


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
