"""What is kept of a run: the best epoch, and the newest state whole at any moment."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from onsight.config import Hparams
from onsight.errors import TrainingError
from onsight.training import build_classifier
from onsight.training.checkpoint import Checkpoints, Progress
from onsight.training.curves import plot_learning_curves
from onsight.training.objective import Objective
from tests.servers.training import SIDE, model_config


@pytest.mark.parametrize(
    ("monitored", "lower_is_better", "best_epoch"), [("val_loss", True, 1), ("val_accuracy", False, 2)]
)
def test_progress_when_epochs_are_added_then_knows_the_best(
    monitored: str, lower_is_better: bool, best_epoch: int
) -> None:
    progress = Progress()
    epochs = [(0.9, 0.5), (0.4, 0.6), (0.5, 0.8), (0.4, 0.8)]
    was_best = [
        progress.add({"val_loss": loss, "val_accuracy": accuracy}, monitored=monitored, lower_is_better=lower_is_better)
        for loss, accuracy in epochs
    ]
    assert progress.best_epoch == best_epoch
    assert was_best == [epoch <= best_epoch for epoch in range(4)]
    assert progress.history["val_loss"] == [loss for loss, _ in epochs]
    assert progress.next_epoch == 4


def progress_after(epochs: int) -> Progress:
    progress = Progress()
    for epoch in range(epochs):
        progress.add({"val_loss": abs(epoch - 1)}, monitored="val_loss", lower_is_better=True)
    return progress


def trained() -> keras.Model:
    network = build_classifier(model_config(), seed=1)
    labels = np.eye(2, dtype=np.float32)
    Objective(model_config(), Hparams(), labels).compile(network, 1e-3, 4)
    network.train_on_batch(np.zeros((2, SIDE, SIDE, 3), np.uint8), labels)
    return network


def test_checkpoints_when_saved_then_keep_the_newest_state_and_the_best_weights(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "print")
    assert checkpoints.load() is None
    network = trained()
    best = network.get_weights()
    checkpoints.save(network, progress_after(2), is_best=True)
    network.set_weights([weight + 1 for weight in best])
    checkpoints.save(network, progress_after(3), is_best=False)

    loaded = checkpoints.load()
    assert loaded is not None
    newest, progress = loaded
    assert progress == progress_after(3)
    assert all(np.array_equal(a, b + 1) for a, b in zip(newest.get_weights(), best, strict=True))
    assert newest.optimizer.learning_rate == network.optimizer.learning_rate
    restored = checkpoints.best(newest, progress)
    assert all(np.array_equal(a, b) for a, b in zip(restored.get_weights(), best, strict=True))
    assert [path.name for path in tmp_path.glob("epoch-*")] == ["epoch-00003"]


def test_checkpoints_when_killed_while_saving_then_the_state_before_stands(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "print")
    network = trained()
    checkpoints.save(network, progress_after(1), is_best=True)
    half = tmp_path / "epoch-00002"
    half.mkdir()
    (half / "network.keras").write_bytes(b"half")
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded[1] == progress_after(1)
    checkpoints.save(network, progress_after(2), is_best=True)
    assert [path.name for path in tmp_path.glob("epoch-*")] == ["epoch-00002"]


def test_checkpoints_when_of_another_job_then_refuse(tmp_path: Path) -> None:
    network = build_classifier(model_config(), seed=1)
    Checkpoints(tmp_path, "print").save(network, progress_after(1), is_best=True)
    with pytest.raises(TrainingError, match="of another config or data set"):
        Checkpoints(tmp_path, "another").load()


def test_learning_curves_when_plotted_then_are_a_picture(tmp_path: Path) -> None:
    history = {name: [0.5, 0.4, 0.3] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    plot_learning_curves(history, tmp_path / "curves.png", best_epoch=2, first_fine_tuned=1)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
