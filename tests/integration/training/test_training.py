"""Training small networks on real photographs: repeatable, resumable after a kill, and acting on what it is told."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from mlflow import MlflowClient

from onsight.config import MlflowConfig, TrainConfig
from onsight.domain import DatasetVersion, Split
from onsight.errors import TrainingError, UnreadableImageError
from onsight.settings import Settings
from onsight.tracking import TrackedRun, open_tracker
from onsight.training import (
    TrainingJob,
    TrainOutcome,
    build_classifier,
    predict_probabilities,
    train_classifier,
)
from tests.integration.training.resumed_training import train as train_with_everything
from tests.servers.mlflow_server import MlflowServer
from tests.servers.training import SIDE, MemoryRun, model_config

MULTI_LABEL = {"classifier_type": "multi-label", "classifier_activation": "sigmoid"}


@pytest.fixture
def train(plankton_set: DatasetVersion, tmp_path: Path) -> Callable[..., TrainOutcome]:
    """Train for one epoch, unless told otherwise."""

    def run_it(
        model: dict[str, object] | None = None,
        dataset: DatasetVersion = plankton_set,
        run: TrackedRun | None = None,
        report: Callable[[str], None] = lambda _: None,
        *,
        resume: bool = False,
        **hparams: object,
    ) -> TrainOutcome:
        config = TrainConfig.model_validate({"hparams": {"epochs": 1, "batch_size": 16} | hparams})
        job = TrainingJob(model_config(**(model or {})), config, tmp_path / "checkpoint", resume=resume)
        network = build_classifier(job.model, config.hparams.seed)
        return train_classifier(network, dataset, job, run or MemoryRun(), report)

    return run_it


def same_weights(first: keras.Model, second: keras.Model) -> bool:
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def uninterrupted(plankton_images: list[Path], whole_run: Path) -> TrainOutcome:
    return train_with_everything(whole_run, plankton_images, MemoryRun())


@pytest.fixture
def finished(uninterrupted: TrainOutcome, whole_run: Path, tmp_path: Path) -> Path:
    """A checkpoint folder of the uninterrupted run, for one test alone."""
    return shutil.copytree(whole_run, tmp_path / "checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize("killed_after", [2, 3], ids=["between the phases", "while fine-tuning"])
def test_training_when_killed_and_resumed_then_ends_as_uninterrupted(
    uninterrupted: TrainOutcome, plankton_images: list[Path], tmp_path: Path, repository: Path, killed_after: int
) -> None:
    command = [sys.executable, "-m", "tests.integration.training.resumed_training", str(tmp_path / "state")]
    with subprocess.Popen(
        [*command, *map(str, plankton_images)], stdout=subprocess.PIPE, text=True, cwd=repository
    ) as process:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith(f"epoch {killed_after}/"):
            assert line, "the process ended by itself"
        process.send_signal(signal.SIGKILL)
    run = MemoryRun()
    resumed = train_with_everything(tmp_path / "state", plankton_images, run, resume=True)
    assert run.metrics[0][0] in (killed_after, killed_after + 1)  # the kill may come one epoch late
    assert run.metrics[-1][0] == 4
    assert resumed.history == uninterrupted.history
    assert (resumed.best_epoch, resumed.epochs_run) == (uninterrupted.best_epoch, uninterrupted.epochs_run)
    assert same_weights(resumed.network, uninterrupted.network)


def test_training_when_seeded_then_repeats(
    uninterrupted: TrainOutcome, plankton_images: list[Path], tmp_path: Path
) -> None:
    again = train_with_everything(tmp_path, plankton_images, MemoryRun())
    assert again.history == uninterrupted.history
    assert same_weights(again.network, uninterrupted.network)


def test_training_when_done_then_the_best_epoch_is_restored_and_everything_is_logged(
    train: Callable[..., TrainOutcome], plankton_set: DatasetVersion, tmp_path: Path
) -> None:
    run, lines = MemoryRun(), list[str]()
    outcome = train(run=run, report=lines.append, epochs=4, init_lr=0.01)
    valid = plankton_set.splits["valid"]
    probabilities = predict_probabilities(outcome.network, valid.paths, batch_size=10)
    val_loss = -np.log(probabilities[valid.labels == 1]).mean()
    assert val_loss == pytest.approx(min(outcome.history["val_loss"]), rel=1e-4)
    assert outcome.best_epoch == int(np.argmin(outcome.history["val_loss"]))
    assert [step for step, _ in run.metrics] == [0, 1, 2, 3]
    assert set(run.metrics[0][1]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert run.artifacts["plots/learning_curves.png"].startswith(b"\x89PNG")
    assert sum(line.startswith("epoch ") for line in lines) == 4
    outcome.network.save(tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras")  # needs neither our loss nor an optimizer


def test_training_when_resumed_after_its_end_then_gives_the_same_network(
    uninterrupted: TrainOutcome, finished: Path, plankton_images: list[Path]
) -> None:
    run = MemoryRun()
    again = train_with_everything(finished, plankton_images, run, resume=True)
    assert again.epochs_run == uninterrupted.epochs_run
    assert same_weights(again.network, uninterrupted.network)
    assert run.metrics == []


def test_training_when_resumed_with_another_config_then_refuses(
    train: Callable[..., TrainOutcome], finished: Path
) -> None:
    with pytest.raises(TrainingError, match="of another config or data set"):
        train(resume=True)


def test_training_when_the_checkpoint_is_damaged_then_says_so(finished: Path, plankton_images: list[Path]) -> None:
    for file in finished.glob("epoch-*/network.keras"):
        file.write_bytes(b"half")
    with pytest.raises(TrainingError, match="cannot be read") as caught:
        train_with_everything(finished, plankton_images, MemoryRun(), resume=True)
    assert "without --resume" in caught.value.hint


def test_training_when_checkpoints_cannot_be_written_then_says_so(
    train: Callable[..., TrainOutcome], tmp_path: Path
) -> None:
    (tmp_path / "checkpoint").write_text("a file where the folder should be")
    with pytest.raises(TrainingError, match="cannot be written"):
        train()


def test_training_when_multi_label_then_learns_each_label(
    train: Callable[..., TrainOutcome], plankton_set: DatasetVersion
) -> None:
    def both_labels(split: Split) -> Split:
        return replace(split, labels=np.stack([split.labels[:, 0], np.ones(len(split), np.float32)], axis=1))

    splits = {name: both_labels(split) for name, split in plankton_set.splits.items()}
    outcome = train(MULTI_LABEL, replace(plankton_set, splits=splits), epochs=6, init_lr=0.01)
    probabilities = predict_probabilities(outcome.network, splits["valid"].paths)
    assert (probabilities[:, 1] > 0.5).mean() > 0.8
    assert (probabilities.sum(axis=1) > 1).any()
    labels = splits["valid"].labels
    likelihoods = np.where(labels > 0.5, probabilities, 1 - probabilities).clip(1e-7, 1)  # as Keras bounds its logs
    bce = -np.log(likelihoods).mean()
    assert bce == pytest.approx(min(outcome.history["val_loss"]), rel=1e-3)


def test_training_when_nothing_improves_then_stops_early(
    train: Callable[..., TrainOutcome], plankton_set: DatasetVersion
) -> None:
    outcome = train(epochs=30, early_stopping_patience=2, init_lr=1e-9, monitor="val_accuracy")
    assert outcome.epochs_run == 3
    assert outcome.best_epoch == 0


def test_training_when_the_loss_is_no_number_then_says_so(
    train: Callable[..., TrainOutcome], plankton_set: DatasetVersion
) -> None:
    split = plankton_set.splits["train"]
    splits = dict(plankton_set.splits) | {"train": replace(split, labels=split.labels * np.nan)}
    with pytest.raises(TrainingError, match="the loss is nan after epoch 1"):
        train(dataset=replace(plankton_set, splits=splits))


def test_training_when_an_image_is_damaged_then_names_it(
    train: Callable[..., TrainOutcome], plankton_set: DatasetVersion, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"no picture")
    split = plankton_set.splits["valid"]
    splits = dict(plankton_set.splits) | {"valid": replace(split, paths=(damaged, *split.paths[1:]))}
    with pytest.raises(UnreadableImageError, match="damaged.jpg"):
        train(dataset=replace(plankton_set, splits=splits))


def test_predict_when_images_are_in_another_order_then_rows_follow(plankton_set: DatasetVersion) -> None:
    network = build_classifier(model_config(), seed=1)
    paths = plankton_set.splits["valid"].paths
    forward, backward = (predict_probabilities(network, order, batch_size=7) for order in (paths, paths[::-1]))
    np.testing.assert_allclose(forward, backward[::-1], atol=1e-6)
    assert forward.dtype == np.float32
    assert network.input_shape == (None, SIDE, SIDE, 3)


def test_training_when_tracked_by_a_server_then_its_epochs_and_curves_are_there(
    train: Callable[..., TrainOutcome], mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    settings = Settings(MLFLOW_TRACKING_URI=mlflow_server.uri, state_dir=tmp_path)
    run = open_tracker(settings).start_run(MlflowConfig(exp_name="training"), "small")
    outcome = train(run=run, epochs=2)
    assert run.flush()
    client = MlflowClient(mlflow_server.uri)
    logged = {point.step: point.value for point in client.get_metric_history(run.run_id, "val_loss")}
    assert logged == dict(enumerate(outcome.history["val_loss"]))
    assert [item.path for item in client.list_artifacts(run.run_id, "plots")] == ["plots/learning_curves.png"]
    run.close()
