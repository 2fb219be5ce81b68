"""Imports from plain folders and label tables: what comes out, every refusal, and nothing half-made."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from onsight.config.dataset import DatasetConfig
from onsight.datasets import ImportRequest, checkout_dataset, import_dataset
from onsight.datasets.__main__ import main
from onsight.datasets.repository import DatasetRepository
from onsight.errors import ConfigError, DatasetError


def write_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes of eight small images."""
    for index in range(16):
        write_image(tmp_path / "source" / ("cat", "dog")[index % 2] / f"{index:02}.png", index)
    return tmp_path / "source"


@pytest.fixture
def ds_root(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


def left_behind(ds_root: Path) -> list[str]:
    return sorted(path.name for path in ds_root.glob("*")) if ds_root.exists() else []


def test_import_makes_a_complete_data_set(source: Path, ds_root: Path) -> None:
    (source / ".hidden").write_text("passed over")
    dataset = import_dataset(ImportRequest(source, "pets", ds_root, split=(0.5, 0.25, 0.25)))
    assert dataset.classes == ("cat", "dog")
    assert dataset.split_sizes() == {"train": 8, "valid": 4, "test": 4}
    assert dataset.class_counts("test") == {"cat": 2, "dog": 2}
    for split in dataset.splits.values():
        for path, labels in zip(split.paths, split.labels, strict=True):
            assert path.parent.name == dataset.classes[int(labels.argmax())]
            assert path.read_bytes() == (source / path.parent.name / path.name).read_bytes()
    metadata = yaml.safe_load((ds_root / "pets" / "metadata.yml").read_text())
    assert metadata["split_sizes"] == dataset.split_sizes()
    assert (metadata["classifier_type"], metadata["classes"]) == ("multi-class", ["cat", "dog"])
    assert [path.name for path in (ds_root / ".dvc_remotes").iterdir()] == ["pets"]
    assert not DatasetRepository(ds_root / "pets").is_changed()


def test_import_is_reproducible(source: Path, ds_root: Path) -> None:
    names = []
    for name in ("one", "two"):
        import_dataset(ImportRequest(source, name, ds_root, seed=5))
        names.append((ds_root / name / "annotation_df.csv").read_text())
    assert names[0] == names[1]


def test_a_new_version_keeps_every_image_in_its_split(imported: Path) -> None:
    def splits(tag: str) -> dict[str, str]:
        text = DatasetRepository(imported / "plankton").git.run("show", f"{tag}:annotation_df.csv")
        return {row["image_name"]: row["split"] for row in csv.DictReader(io.StringIO(text))}

    first, second = splits("v1.0.0"), splits("v2.0.0")
    assert len(first) < len(second) == 105
    assert {name: second[name] for name in first} == first


def test_copies_of_an_image_come_into_one_split(source: Path, ds_root: Path) -> None:
    for index in range(6):
        shutil.copy(source / "cat" / "00.png", source / "cat" / f"copy{index}.png")
    dataset = import_dataset(ImportRequest(source, "pets", ds_root))
    content = (source / "cat" / "00.png").read_bytes()
    holding = {split.name for split in dataset.splits.values() for path in split.paths if path.read_bytes() == content}
    assert len(holding) == 1


def test_import_of_several_labels_lays_images_in_the_folder_of_the_first(source: Path, ds_root: Path) -> None:
    table = source / "labels.csv"
    files = sorted(source.glob("*/*.png"))
    rows = [
        f"{path.relative_to(source)},{index % 2},{int(index % 3 == 0)},{int(index % 4 == 1)}"
        for index, path in enumerate(files)
    ]
    table.write_text("image_name,furry,loud,wet\n" + "\n".join(rows) + "\n")
    dataset = import_dataset(ImportRequest(source, "many", ds_root, labels=table))
    by_name = {
        path.name: (path.parent.name, labels.tolist())
        for split in dataset.splits.values()
        for path, labels in zip(split.paths, split.labels, strict=True)
    }
    assert by_name["00.png"] == ("loud", [0, 1, 0])
    assert by_name[files[2].name] == ("_none", [0, 0, 0])
    assert by_name[files[9].name] == ("furry", [1, 1, 1])
    assert yaml.safe_load((ds_root / "many" / "metadata.yml").read_text())["classifier_type"] == "multi-label"
    assert checkout_dataset(DatasetConfig(ds_root=ds_root, ds_name="many", dvc_tag="v1.0.0")) is not None


def test_import_takes_the_splits_that_a_table_gives(source: Path, ds_root: Path) -> None:
    files = sorted(source.glob("*/*.png"))
    wanted = {path.name: ("test", "valid", "train", "train")[index % 4] for index, path in enumerate(files)}
    rows = [f"{p.relative_to(source)},{wanted[p.name]},{int('cat' in str(p))},{int('dog' in str(p))}" for p in files]
    table = source.parent / "labels.csv"
    table.write_text("image_name,split,cat,dog\n" + "\n".join(rows))
    dataset = import_dataset(ImportRequest(source, "pets", ds_root, labels=table))
    assert {path.name: split.name for split in dataset.splits.values() for path in split.paths} == wanted


def no_spoil(source: Path) -> None:
    """The source stays good."""


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


BAD_FOLDERS = {
    "damaged image": (lambda s: truncate(s / "cat/00.png"), ["1 files that are no readable image", "cat/00.png"]),
    "text file": (lambda s: (s / "cat/x.jpg").write_text("hello"), ["1 files that are no readable image", "x.jpg"]),
    "unknown format": (
        lambda s: (s / "cat/x.heic").write_bytes(b"\0\0\0\x1cftypheic"),
        ["1 files in a format that is not read", "x.heic (HEIC/AVIF images are not read)"],
    ),
    "empty class": (lambda s: (s / "bird").mkdir(), ["1 class folders without an image: bird"]),
    "same name in two classes": (
        lambda s: write_image(s / "dog/00.png", 99),
        ["1 file names that occur more than once (see --rename): cat/00.png = dog/00.png"],
    ),
    "same name deeper": (
        lambda s: write_image(s / "cat/more/00.png", 99),
        ["1 file names that occur more than once", "cat/00.png = cat/more/00.png"],
    ),
    "file beside the classes": (lambda s: (s / "notes.txt").write_text("x"), ["1 files that lie beside", "notes.txt"]),
    "reserved name": (
        lambda s: (s / "cat").rename(s / "split"),
        ["1 classes with a name that cannot be used: 'split'"],
    ),
    "one class": (lambda s: shutil.rmtree(s / "dog"), ["1 classes in all, where a classifier needs two: cat"]),
    "too few images": (
        lambda s: [path.unlink() for path in sorted((s / "cat").iterdir())[2:]],
        ["cannot be divided", "cat (2 images, none for valid and test)"],
    ),
    "too few different images": (
        lambda s: (empty(s / "cat"), [write_image(s / f"cat/c{i}.png", 7) for i in range(5)]),
        ["cannot be divided", "cat (5 images, none for"],
    ),
    "no classes": (lambda s: shutil.rmtree(s) or s.mkdir(), ["holds no class folders"]),
    "absent": (shutil.rmtree, ["cannot be read: No such file"]),
    "splits": (
        lambda s: ((s / "cat").rename(s / "train"), (s / "dog").rename(s / "val")),
        ["holds splits (train, val), not classes", "--labels"],
    ),
}


@pytest.mark.parametrize(("spoil", "expected"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_import_of_a_bad_folder_names_the_problem_and_makes_nothing(
    spoil: Callable[[Path], object], expected: list[str], source: Path, ds_root: Path
) -> None:
    spoil(source)
    with pytest.raises(DatasetError) as caught:
        import_dataset(ImportRequest(source, "pets", ds_root))
    for text in expected:
        assert text in str(caught.value)
    assert left_behind(ds_root) in ([], [".dvc_remotes"], [".pets.lock"], [".dvc_remotes", ".pets.lock"])


def test_import_names_all_problems_in_one_message(source: Path, ds_root: Path) -> None:
    for name in ("damaged image", "unknown format", "empty class", "same name in two classes"):
        BAD_FOLDERS[name][0](source)
    with pytest.raises(DatasetError) as caught:
        import_dataset(ImportRequest(source, "pets", ds_root))
    for kind in ("no readable image", "format that is not read", "class folders without", "occur more than once"):
        assert kind in caught.value.message


def test_import_with_rename_keeps_images_of_equal_name_apart(source: Path, ds_root: Path) -> None:
    write_image(source / "dog/00.png", 99)
    dataset = import_dataset(ImportRequest(source, "pets", ds_root, rename=True))
    names = {path.name for split in dataset.splits.values() for path in split.paths}
    assert {"cat_00.png", "dog_00.png", "02.png"} <= names
    assert len(names) == 17


ROW = "cat/00.png,1,0\n"
BAD_TABLES = {
    "header": ("name,a,b\n" + ROW, "the first line must be image_name"),
    "class twice": ("image_name,a,a\n" + ROW, "none twice"),
    "no class": ("image_name\ncat/00.png\n", "the first line must be image_name"),
    "empty": ("", "holds no rows"),
    "label": ("image_name,a,b\ncat/00.png,1,2\n", "lines of labels.csv without one 0 or 1 per class: line 2"),
    "short line": ("image_name,a,b\ncat/00.png,1\n", "lines of labels.csv without one 0 or 1 per class: line 2"),
    "split": ("image_name,split,a,b\ncat/00.png,dev,1,0\n", "whose split is none of train, valid, test: line 2"),
    "no file": ("image_name,a,b\ncat/99.png,1,0\n", "lines of labels.csv without an image file: cat/99.png"),
    "twice": ("image_name,a,b\n" + ROW + ROW, "1 images with several lines in labels.csv: cat/00.png"),
    "file without line": ("image_name,a,b\n" + ROW, "15 files without a line in labels.csv: cat/02.png"),
    "empty class": ("image_name,a,b\n" + ROW, "1 classes without an image: b"),
}


@pytest.mark.parametrize(("text", "expected"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_import_of_a_bad_table_names_the_problem(text: str, expected: str, source: Path, ds_root: Path) -> None:
    table = source / "labels.csv"
    table.write_text(text)
    with pytest.raises(DatasetError) as caught:
        import_dataset(ImportRequest(source, "pets", ds_root, labels=table))
    assert expected in caught.value.message
    assert left_behind(ds_root) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "../pets"}, "the name '../pets' may hold letters"),
        ({"tag": "-x"}, "the tag '-x' cannot be used"),
        ({"split": (0.7, 0.3, 0.0)}, "three fractions above 0"),
        ({"split": (0.7, 0.2, 0.2)}, "whose sum is 1"),
    ],
)
def test_import_request_refuses_values_that_cannot_be_used(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImportRequest(**{"source": Path("x"), "name": "pets", **options})


def test_import_that_fails_at_the_end_leaves_no_data_set(
    source: Path, ds_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DatasetRepository, "add_version", fail)
    with pytest.raises(DatasetError, match="cannot be written: No space left on device"):
        import_dataset(ImportRequest(source, "pets", ds_root))
    assert left_behind(ds_root) == [".dvc_remotes", ".pets.lock"]
    assert left_behind(ds_root / ".dvc_remotes") == []
    monkeypatch.undo()
    assert import_dataset(ImportRequest(source, "pets", ds_root)).split_sizes()["train"] > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_import_on_a_full_disk_leaves_no_data_set(source: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        for index in range(100):
            write_image(source / "cat" / f"more{index}.png", 100 + index)
        with pytest.raises(DatasetError, match="No space left on device"):
            import_dataset(ImportRequest(source, "pets", small))
        assert not [path for path in small.rglob("*") if path.is_file() and path.name != ".pets.lock"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_version_that_fails_brings_the_one_before_back(
    source: Path, ds_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = import_dataset(ImportRequest(source, "pets", ds_root))
    (
        write_image(source / "bird/b.png", 50),
        write_image(source / "bird/c.png", 51),
        write_image(source / "bird/d.png", 52),
    )
    original = DatasetRepository.add_version

    def fail(self: DatasetRepository, tag: str, message: str) -> str:
        original(self, "half", message)
        raise KeyboardInterrupt

    monkeypatch.setattr(DatasetRepository, "add_version", fail)
    with pytest.raises(KeyboardInterrupt):
        import_dataset(ImportRequest(source, "pets", ds_root, tag="v2.0.0"))
    monkeypatch.undo()
    after = checkout_dataset(DatasetConfig(ds_root=ds_root, ds_name="pets", dvc_tag="v1.0.0"))
    assert (after.revision, after.classes) == (before.revision, ("cat", "dog"))
    assert DatasetRepository(ds_root / "pets").git.branch() == "main"
    second = import_dataset(ImportRequest(source, "pets", ds_root, tag="v2.0.0"))
    assert second.classes == ("bird", "cat", "dog")


def test_a_version_is_added_on_main_when_an_old_one_is_checked_out(source: Path, ds_root: Path) -> None:
    import_dataset(ImportRequest(source, "pets", ds_root))
    write_image(source / "cat/new.png", 77)
    import_dataset(ImportRequest(source, "pets", ds_root, tag="v2.0.0"))
    checkout_dataset(DatasetConfig(ds_root=ds_root, ds_name="pets", dvc_tag="v1.0.0"))
    write_image(source / "cat/newer.png", 78)
    import_dataset(ImportRequest(source, "pets", ds_root, tag="v3.0.0"))
    git = DatasetRepository(ds_root / "pets").git
    assert git.tags() == ["v1.0.0", "v2.0.0", "v3.0.0"]
    assert git.succeeds("merge-base", "--is-ancestor", "v2.0.0", "v3.0.0")
    assert git.branch() == "main"


@pytest.mark.parametrize(
    ("prepare", "tag", "message"),
    [
        (no_spoil, "v1.0.0", "has the tag v1.0.0 already; its tags: v1.0.0"),
        (no_spoil, "v2.0.0", "v2.0.0 would hold the same images and labels as v1.0.0"),
        (lambda root: (root / "notes").write_text("x"), "v2.0.0", "holds uncommitted changes, such as notes"),
        (lambda root: shutil.rmtree(root / ".dvc"), "v2.0.0", "exists and is no data set"),
    ],
    ids=["tag", "same content", "uncommitted", "no data set"],
)
def test_a_version_is_refused_with_a_reason(
    prepare: Callable[[Path], object], tag: str, message: str, source: Path, ds_root: Path
) -> None:
    import_dataset(ImportRequest(source, "pets", ds_root))
    prepare(ds_root / "pets")
    with pytest.raises(DatasetError, match=message):
        import_dataset(ImportRequest(source, "pets", ds_root, tag=tag))


def test_a_second_import_of_the_same_name_waits_outside(source: Path, ds_root: Path) -> None:
    import fcntl

    ds_root.mkdir()
    with (ds_root / ".pets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="another import into .*pets is running"):
            import_dataset(ImportRequest(source, "pets", ds_root))


def test_an_import_killed_half_way_can_be_repeated(source: Path, ds_root: Path) -> None:
    (ds_root / ".pets.partial" / "images").mkdir(parents=True)
    assert import_dataset(ImportRequest(source, "pets", ds_root)).name == "pets"
    assert not (ds_root / ".pets.partial").exists()


def test_the_command_imports_and_reports(source: Path, ds_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["import", str(source), "--name", "pets", "--ds-root", str(ds_root), "--split", "0.5", "0.25", "0.25"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "pets v1.0.0 (" in printed.out
    assert "train      8 images: cat 4, dog 4" in printed.out
    assert "checking images" in printed.err
    assert main(arguments) == 3
    assert capsys.readouterr().err.splitlines()[-2].startswith("error: the data set pets has the tag v1.0.0 already")


def test_the_command_answers_help_without_dvc_or_training_libraries() -> None:
    code = (
        "import sys, onsight.datasets.__main__; print(sorted({'dvc', 'tensorflow', 'deepchecks'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
