"""Reference data: held-out images alone, in their natural mix, rows that correspond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onsight.domain import Split
from onsight.drift import ReferenceData, read_reference, sample_reference, write_reference
from onsight.errors import BundleError, DatasetError


def split(name: str, counts: tuple[int, int]) -> Split:
    labels = np.repeat(np.eye(2, dtype=np.float32), counts, axis=0)
    return Split(name, tuple(Path(f"/{name}/{index}-{int(row[1])}.png") for index, row in enumerate(labels)), labels)


def test_sample_reference_when_drawn_then_rows_correspond_and_the_mix_is_natural() -> None:
    sample = sample_reference([split("valid", (800, 200)), split("test", (1600, 400))], 1000, seed=3)
    assert len(sample) == len(set(sample.paths)) == 1000
    assert sample.labels[:, 1].mean() == pytest.approx(0.2, abs=0.04)
    for path, label in zip(sample.paths, sample.labels, strict=True):
        assert path.stem.endswith(f"-{int(label[1])}")


def test_sample_reference_when_seeded_then_repeats() -> None:
    splits = [split("test", (50, 50))]
    assert sample_reference(splits, 20, seed=1).paths == sample_reference(splits, 20, seed=1).paths
    assert sample_reference(splits, 20, seed=1).paths != sample_reference(splits, 20, seed=2).paths


def test_sample_reference_when_there_are_fewer_images_then_takes_all_and_warns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert len(sample_reference([split("test", (3, 4))], 500, seed=1)) == 7
    assert "500 rows were asked for, the held-out splits hold 7 images" in caplog.text


def test_sample_reference_when_there_are_enough_images_then_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    assert len(sample_reference([split("test", (3, 4))], 7, seed=1)) == 7
    assert not caplog.records


def test_sample_reference_when_given_training_images_or_none_then_refuses() -> None:
    with pytest.raises(DatasetError, match="cannot come from the train split"):
        sample_reference([split("valid", (5, 5)), split("train", (5, 5))], 5, seed=1)
    with pytest.raises(DatasetError, match="no image"):
        sample_reference([], 5, seed=1)


def test_sample_reference_when_images_were_chosen_then_leaves_them_out() -> None:
    valid = split("valid", (40, 10))
    chosen = {path.name for path in valid.paths[30:45]}

    sample = sample_reference([valid], 50, seed=1, chosen=chosen)

    assert sample.paths == valid.paths[:30] + valid.paths[45:]
    assert sample.labels[:, 1].sum() == 5
    with pytest.raises(DatasetError, match="no image"):
        sample_reference([valid], 50, seed=1, chosen={path.name for path in valid.paths})


def test_reference_data_when_written_then_reads_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    data = ReferenceData(
        images=("a.png", "b.png"),
        labels=(("cat",), ("cat", "dog")),
        uae_features=random.normal(size=(2, 32)).astype(np.float32),
        bbsd_features=random.random((2, 3)).astype(np.float32),
    )
    write_reference(data, tmp_path / "ref.parquet")
    back = read_reference(tmp_path / "ref.parquet")
    assert (back.images, back.labels) == (data.images, data.labels)
    np.testing.assert_array_equal(back.uae_features, data.uae_features)
    np.testing.assert_array_equal(back.bbsd_features, data.bbsd_features)
    # As bundles of older releases: these columns are not there.
    assert (back.probabilities, back.properties, back.formats) == (None, {}, ())


def test_reference_data_when_written_with_what_the_images_are_like_then_reads_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    data = ReferenceData(
        images=("a.png", "b.png"),
        labels=(("cat",), ("dog",)),
        uae_features=random.normal(size=(2, 32)).astype(np.float32),
        bbsd_features=random.random((2, 3)).astype(np.float32),
        probabilities=random.random((2, 3)).astype(np.float32),
        properties={"brightness": random.random(2), "width": np.array([64.0, 80.0])},
        formats=("PNG", "JPEG"),
    )
    write_reference(data, tmp_path / "ref.parquet")

    back = read_reference(tmp_path / "ref.parquet")

    assert back.probabilities is not None
    np.testing.assert_array_equal(back.probabilities, data.probabilities)
    assert back.formats == data.formats
    assert list(back.properties) == ["brightness", "width"]
    np.testing.assert_array_equal(back.properties["brightness"], data.properties["brightness"])


def test_read_reference_when_a_column_is_missing_then_raises_bundle_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a.png"], "label": [["cat"]]}), tmp_path / "ref.parquet")
    with pytest.raises(BundleError, match="lacks the column 'uae_feats'"):
        read_reference(tmp_path / "ref.parquet")


def test_read_reference_when_damaged_then_raises_bundle_error(tmp_path: Path) -> None:
    (tmp_path / "ref.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(BundleError, match="cannot be read"):
        read_reference(tmp_path / "ref.parquet")
