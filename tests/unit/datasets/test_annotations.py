"""The annotation table against the files on disk, in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onsight.datasets import read_annotations
from onsight.errors import DatasetError

HEADER = "image_name,split,cat,dog\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images in place, and a good table for them."""
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/a.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "annotation_df.csv").write_text(HEADER + "b.png,train,0,1\na.png,test,1,0\na.png,train,1.0,0.0\n")
    return tmp_path


def read(root: Path) -> object:
    return read_annotations(root, "v1.0.0", "0" * 40, "pets")


def test_splits_keep_the_order_of_the_table(root: Path) -> None:
    dataset = read_annotations(root, "v1.0.0", "0" * 40, "pets")
    assert dataset.classes == ("cat", "dog")
    assert list(dataset.splits) == ["train", "valid", "test"]
    train = dataset.splits["train"]
    assert train.paths == (root / "images/train/dog/b.png", root / "images/train/cat/a.png")
    np.testing.assert_array_equal(train.labels, [[0, 1], [1, 0]])
    assert train.labels.dtype == np.float32
    assert dataset.splits["valid"].labels.shape == (0, 2)
    assert dataset.class_counts("train") == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("c.png,train,1,0\n", "1 rows without an image file: images/train/cat/c.png"),
        ("a.png,test,1,0\n", "1 images with more than one row: images/test/cat/a.png"),
        ("c.png,dev,1,0\n", "1 lines whose split is none of train, valid, test: line 5: 'dev'"),
        ("c.png,train,1\n", "1 lines with a wrong number of columns: line 5"),
        ("c.png,train,1,yes\n", "1 lines with a label that is neither 0 nor 1: line 5"),
        ("../c.png,train,1,0\n", "1 lines whose image_name is no file name: line 5"),
    ],
)
def test_a_bad_row_is_named(row: str, message: str, root: Path) -> None:
    with (root / "annotation_df.csv").open("a") as file:
        file.write(row)
    with pytest.raises(DatasetError) as caught:
        read(root)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "header", ["", "name,split,cat\n", "image_name,split\n", "image_name,split,cat,cat\n", "image_name,cat,dog\n"]
)
def test_a_bad_first_line_is_shown(header: str, root: Path) -> None:
    (root / "annotation_df.csv").write_text(header)
    with pytest.raises(DatasetError, match="the first line must be image_name,split"):
        read(root)


def test_a_missing_table_is_named(root: Path) -> None:
    (root / "annotation_df.csv").unlink()
    with pytest.raises(DatasetError, match=r"annotation_df\.csv cannot be read"):
        read(root)


def test_files_without_rows_are_listed_and_counted(root: Path) -> None:
    for index in range(8):
        (root / "images/train/cat" / f"x{index}.png").touch()
    with pytest.raises(DatasetError, match=r"8 image files without a row: .*x0\.png, .* and 3 more") as caught:
        read(root)
    assert len(caught.value.context["problems"]["image files without a row"]) == 8


def test_a_row_whose_image_lies_in_another_class_folder_has_no_file(root: Path) -> None:
    (root / "images/train/dog/b.png").rename(root / "images/train/cat/b.png")
    with pytest.raises(DatasetError) as caught:
        read(root)
    assert "rows without an image file: images/train/dog/b.png" in caught.value.message
    assert "image files without a row: images/train/cat/b.png" in caught.value.message
