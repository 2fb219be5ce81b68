"""What the trainings after a review use: the version is not forgotten, and the drift reference stays natural."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from onsight.config import DatasetConfig
from onsight.config.model import DriftDetection
from onsight.datasets import reviewed_names
from onsight.db import DecisionRecord, claim_retraining, finish_retraining, retraining_history
from onsight.drift import read_reference
from onsight.errors import OnsightError
from onsight.retraining import Claim, pending_dataset_tag
from onsight.settings import Settings
from tasks.release import fit_drift_detectors
from tasks.retraining import prepare_new_version
from tests.servers.bundle import write_small_graph
from tests.unit.datasets.conftest import NOW, World


def test_a_new_version_is_not_forgotten_when_the_served_one_cannot_be_read(
    world: World, fresh: list[tuple[bytes, str]], tmp_path: Path
) -> None:
    world.review(*fresh[0])
    record = DecisionRecord(NOW, "plankton", 3, fired=True, reasons=["met"], new_labels=1)
    seq = claim_retraining(world.database, record, timedelta(days=1))
    assert seq is not None
    config = DatasetConfig(ds_root=world.ds_root, ds_name="plankton", dvc_tag="v2.0.0")
    settings = Settings(central_storage_url=str(tmp_path / "storage"), state_dir=tmp_path / "state")
    world.archive.close()

    with pytest.raises(OnsightError):
        prepare_new_version.fn(world.database, Claim(seq, "plankton", 3, None), config, settings)

    finish_retraining(world.database, seq, "failed: no bundle")
    assert pending_dataset_tag(retraining_history(world.database, "plankton")) == "v2.1.0"


def test_the_drift_reference_holds_no_reviewed_image(
    world: World, fresh: list[tuple[bytes, str]], tmp_path: Path
) -> None:
    names = {f"{world.review(*one)}.jpg" for one in fresh}
    world.add()
    dataset = world.read()
    held_out = {path.name for name in ("valid", "test") for path in dataset.splits[name].paths}
    write_small_graph(tmp_path / "model.onnx", 1)

    fit_drift_detectors.fn(tmp_path / "model.onnx", dataset, DriftDetection(), 1, tmp_path / "drift")

    assert reviewed_names(dataset.root) == names
    assert held_out & names  # some came into valid
    reference = read_reference(tmp_path / "drift" / "reference.parquet")
    assert {Path(image).name for image in reference.images} == held_out - names
