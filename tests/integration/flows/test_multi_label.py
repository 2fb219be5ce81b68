"""A multi-label data set, made from a plain folder and a table, trains and deploys with only the config changed."""

from __future__ import annotations

import csv
from pathlib import Path

import httpx
import pytest
from PIL import Image

from onsight.bundle import read_metadata
from onsight.datasets import ImportRequest, import_dataset
from onsight.settings import Settings
from onsight.storage import open_store
from tests.integration.flows.conftest import WriteConfig, run_command


@pytest.fixture
def tagged_root(plankton_folder: Path, plankton_images: list[Path], tmp_path: Path) -> Path:
    """The root of a data set whose images are, or are not: of genus Tripos, wide, large."""
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image_name", "tripos", "wide", "large"])
        for path in plankton_images:
            with Image.open(path) as image:
                width, height = image.size
            name = path.relative_to(plankton_folder)
            rows.writerow([name, int(path.parent.name == "Tripos"), int(width > height), int(width * height > 20_000)])
    root = tmp_path / "datasets"
    import_dataset(ImportRequest(plankton_folder, "tagged", root, split=(0.5, 0.25, 0.25), labels=table))
    return root


@pytest.mark.slow
def test_full_flow_when_multi_label_then_serves_one_probability_per_label(
    settings: Settings, write_config: WriteConfig, tagged_root: Path, plankton_images: list[Path], free_port: int
) -> None:
    config = write_config(
        "full",
        **{
            "model.model_name": "tagged",
            "model.classes": ["tripos", "wide", "large"],
            "model.classifier_type": "multi-label",
            "model.classifier_activation": "sigmoid",
            "dataset.ds_root": str(tagged_root),
            "dataset.ds_name": "tagged",
            "train.hparams.class_weights": "balanced",
        },
    )
    done = run_command(config)
    assert done.code == 0, done.err
    assert "tagged-v1 is in production" in done.out
    assert read_metadata(open_store(settings), "tagged-v1").classifier_type == "multi-label"

    answer = httpx.post(f"http://127.0.0.1:{free_port}/predict", content=plankton_images[0].read_bytes()).json()
    assert list(answer["prediction"]) == ["tripos", "wide", "large"]
    assert all(0 <= probability <= 1 for probability in answer["prediction"].values())
    assert abs(sum(answer["prediction"].values()) - 1) > 1e-6
