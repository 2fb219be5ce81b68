"""The demo data set from the installed package: two versions, stratified, stable between them."""

from __future__ import annotations

import importlib.metadata
import logging
from pathlib import Path

import numpy as np
import pytest

from onsight.config.dataset import DatasetConfig
from onsight.datasets import DEMO_NAME, build_demo, checkout_dataset
from onsight.datasets.__main__ import main
from onsight.datasets.repository import DatasetRepository
from onsight.errors import DatasetError

try:
    importlib.metadata.files("elpv-dataset")
except importlib.metadata.PackageNotFoundError:
    pytest.skip("the demo's package is not installed (make dataset)", allow_module_level=True)


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ds_root = tmp_path_factory.mktemp("demo")
    build_demo(ds_root)
    return ds_root


def version(ds_root: Path, tag: str) -> dict[str, tuple[str, tuple[float, ...]]]:
    dataset = checkout_dataset(DatasetConfig(ds_root=ds_root, ds_name=DEMO_NAME, dvc_tag=tag))
    return {
        path.name: (split.name, tuple(labels.tolist()))
        for split in dataset.splits.values()
        for path, labels in zip(split.paths, split.labels, strict=True)
    }


def test_demo_has_two_versions_that_agree_on_what_they_share(demo_root: Path) -> None:
    mono, every = version(demo_root, "v1.0.0"), version(demo_root, "v2.0.0")
    assert (len(mono), len(every)) == (1074, 2624)
    assert {name: every[name] for name in mono} == mono


def test_demo_splits_are_a_quarter_for_testing_with_even_shares_of_defects(demo_root: Path) -> None:
    dataset = build_demo(demo_root)
    sizes = dataset.split_sizes()
    assert sizes["test"] == pytest.approx(2624 * 0.25, abs=2)
    assert sizes["valid"] == pytest.approx(2624 * 0.15, abs=2)
    assert sum(dataset.class_counts(split)["defective"] for split in dataset.splits) == 715 + 106
    shares = [split.labels[:, 1].mean() for split in dataset.splits.values()]
    np.testing.assert_allclose(shares, 821 / 2624, atol=0.003)


def test_demo_keeps_photographs_of_one_cell_in_one_split(demo_root: Path) -> None:
    every = version(demo_root, "v2.0.0")
    # One cell twice, sharp and blurred; and wafers cut beside each other.
    for one, other in [(1778, 2320), (1766, 2308), (1770, 2312), (2369, 2370), (354, 355), (1978, 1980)]:
        assert every[f"cell{one:04}.png"][0] == every[f"cell{other:04}.png"][0]


def test_demo_a_second_time_says_so_and_changes_nothing(demo_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    head = DatasetRepository(demo_root / DEMO_NAME).git.run("rev-parse", "v2.0.0", "main")
    with caplog.at_level(logging.INFO):
        assert build_demo(demo_root).tag == "v2.0.0"
    assert "holds the demo data set already" in caplog.text
    assert DatasetRepository(demo_root / DEMO_NAME).git.run("rev-parse", "v2.0.0", "main") == head


def test_demo_command_prints_the_licence(demo_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--ds-root", str(demo_root)]) == 0
    assert "CC BY-NC-SA 4.0" in capsys.readouterr().out


def test_demo_without_the_package_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("onsight.datasets.demo.files", missing)
    with pytest.raises(DatasetError, match="elpv-dataset is not installed") as caught:
        build_demo(tmp_path / "datasets")
    assert "make dataset" in caught.value.hint
    assert not (tmp_path / "datasets").exists()


def test_demo_does_not_touch_another_data_set_of_its_name(tmp_path: Path) -> None:
    (tmp_path / DEMO_NAME).mkdir()
    with pytest.raises(DatasetError, match="is in the way: it is not the demo data set"):
        build_demo(tmp_path)
