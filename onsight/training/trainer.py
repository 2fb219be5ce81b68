"""The training loop: freeze then unfreeze, best epoch kept, every epoch logged, able to go on after a kill."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from onsight.config import ModelConfig, TrainConfig
from onsight.domain import DatasetVersion
from onsight.errors import TrainingError
from onsight.tracking import TrackedRun
from onsight.training.augmentation import Augmentation
from onsight.training.checkpoint import Checkpoints, Progress
from onsight.training.curves import plot_learning_curves
from onsight.training.objective import Objective, freeze
from onsight.training.pipeline import ImageSource, TrainingBatches, plain_batches
from onsight.training.progress import StepLine

__all__ = ["TrainOutcome", "TrainingJob", "train_classifier"]


@dataclass(frozen=True)
class TrainOutcome:
    """A trained network, at its best epoch.

    Attributes:
        network: Without optimizer and loss.
        best_epoch: Counted from 0.
        epochs_run: Of the whole run, also those before a resume.
        history: Each metric's value by epoch.
        train_s: Wall time of the epochs done in this process, seconds.
    """

    network: keras.Model
    best_epoch: int
    epochs_run: int
    history: Mapping[str, list[float]]
    train_s: float


@dataclass(frozen=True)
class TrainingJob:
    """What to train and how.

    Attributes:
        checkpoint_dir: Where the state after each epoch is kept.
        resume: Go on from the state there, if there is one.
    """

    model: ModelConfig
    train: TrainConfig
    checkpoint_dir: Path
    resume: bool = False

    def fingerprint(self, dataset: DatasetVersion) -> str:
        """The same for jobs that train the same way on the same data: only such a job can be resumed."""
        parts = (
            self.model.model_dump_json(exclude={"drift_detection", "int8"}),
            self.train.model_dump_json(exclude={"mlflow", "workers"}),
            dataset.revision,
            str(dataset.split_sizes()),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def train_classifier(
    network: keras.Model,
    dataset: DatasetVersion,
    job: TrainingJob,
    run: TrackedRun,
    report: Callable[[str], None] = print,
) -> TrainOutcome:
    """Train a network.

    Args:
        network: As ``build_classifier`` gave it; trained in place unless a checkpoint replaces it.
        dataset: With splits ``train`` and ``valid``.
        job: What to train and how.
        run: Gets each epoch's metrics as it ends, and the learning curves.
        report: Gets a line of progress per epoch.

    Raises:
        TrainingError: The loss is no number any more, or a checkpoint cannot be written, read or continued.
        ConfigError: An augmenter does not take its arguments.
        ImageError: An image cannot be read.
    """
    return _Loop(network, job, run, report).train(dataset)


class _Loop:
    def __init__(self, network: keras.Model, job: TrainingJob, run: TrackedRun, report: Callable[[str], None]) -> None:
        self._network, self._job, self._run, self._report = network, job, run, report
        self._hparams = job.train.hparams
        self._progress = Progress()

    def train(self, dataset: DatasetVersion) -> TrainOutcome:
        # Same seed, same run: without it, sums in another order give other last digits, and other weights in the end.
        tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(self._hparams.seed)
        checkpoints = Checkpoints(self._job.checkpoint_dir, self._job.fingerprint(dataset))
        resumed = self._job.resume and self._restore(checkpoints)
        batches, valid = self._open_images(dataset)
        objective = Objective(self._job.model, self._hparams, dataset.splits["train"].labels)
        started_s = time.monotonic()
        while self._progress.next_epoch < self._hparams.epochs and not self._should_stop():
            if not resumed and self._progress.next_epoch in (0, self._hparams.freeze_epochs):
                self._start_phase(objective, batches.steps)
            resumed = False
            self._epoch(batches, valid, checkpoints)
        train_s = time.monotonic() - started_s
        self._log_curves()
        return TrainOutcome(
            network=checkpoints.best(self._network, self._progress),
            best_epoch=self._progress.best_epoch,
            epochs_run=self._progress.next_epoch,
            history=self._progress.history,
            train_s=train_s,
        )

    def _open_images(self, dataset: DatasetVersion) -> tuple[TrainingBatches, _Validation]:
        size, hparams, started_s = self._job.model.input_size, self._hparams, time.monotonic()
        augmentation = Augmentation(self._job.train.augmentation)
        train = ImageSource(dataset.splits["train"], size.w, size.h)
        valid = ImageSource(dataset.splits["valid"], size.w, size.h)
        n_kept = sum(len(source.split) for source in (train, valid) if source.is_kept)
        self._report(f"{n_kept} images decoded and kept in memory in {time.monotonic() - started_s:.1f} s")
        batches = TrainingBatches(train, augmentation, hparams.batch_size, hparams.seed, self._job.train.workers)
        return batches, _Validation(valid, plain_batches(valid, hparams.batch_size))

    def _start_phase(self, objective: Objective, steps_per_epoch: int) -> None:
        """Freeze or unfreeze, with a fresh optimizer and schedule over the phase's epochs."""
        hparams, epoch = self._hparams, self._progress.next_epoch
        is_frozen = epoch < hparams.freeze_epochs
        share = 0 if is_frozen else hparams.unfreeze_share
        freeze(self._network, unfrozen_share=share, pretrained=self._job.model.weights != "none")
        # Without a frozen phase there is no head to protect: the whole network starts at init_lr.
        learning_rate = hparams.fine_tune_lr if epoch > 0 else hparams.init_lr
        epochs = hparams.freeze_epochs if is_frozen else hparams.epochs - epoch
        objective.compile(self._network, learning_rate, epochs * steps_per_epoch)
        learns = sum(int(np.prod(weight.shape)) for weight in self._network.trainable_weights)
        part = "the head on a frozen backbone" if is_frozen else f"the head and {share:.0%} of the backbone's layers"
        self._report(f"training {part}: {learns:,} parameters, {epochs} epochs")

    def _restore(self, checkpoints: Checkpoints) -> bool:
        found = checkpoints.load()
        if found is None:
            return False
        self._network, self._progress = found
        self._report(f"going on after epoch {self._progress.next_epoch} of {self._hparams.epochs}")
        # A kill between two phases leaves the first one's last epoch: the second starts as it would have.
        return self._progress.next_epoch != self._hparams.freeze_epochs

    def _epoch(self, batches: TrainingBatches, valid: _Validation, checkpoints: Checkpoints) -> None:
        epoch, started_s = self._progress.next_epoch, time.monotonic()
        _seed_layers(self._network, self._hparams.seed, epoch)
        step_line = StepLine(sys.stderr, f"epoch {epoch + 1}/{self._hparams.epochs}", batches.steps)
        with batches.source.own_errors():
            fitted = self._network.fit(batches.epoch(epoch), shuffle=False, verbose=0, callbacks=[step_line]).history
        values = {name: float(series[0]) for name, series in fitted.items()}
        if not np.isfinite(values["loss"]):
            raise TrainingError(
                f"the loss is {values['loss']} after epoch {epoch + 1}",
                hint="lower train.hparams.init_lr or fine_tune_lr",
            )
        with valid.source.own_errors():
            validated = self._network.evaluate(valid.batches, verbose=0, return_dict=True)
        values |= {f"val_{name}": float(value) for name, value in validated.items()}
        monitored = self._hparams.monitor
        is_best = self._progress.add(values, monitored=monitored, lower_is_better=monitored == "val_loss")
        checkpoints.save(self._network, self._progress, is_best=is_best)
        self._run.log_metrics(values, step=epoch)
        self._report(_epoch_line(epoch, self._hparams.epochs, values, time.monotonic() - started_s, is_best=is_best))

    def _should_stop(self) -> bool:
        patience = self._hparams.early_stopping_patience
        since_best = self._progress.next_epoch - 1 - self._progress.best_epoch
        # The frozen phase only prepares the head: stopping starts to count when fine-tuning has begun.
        fine_tuned = self._progress.next_epoch - self._hparams.freeze_epochs
        return 0 < patience <= min(since_best, fine_tuned)

    def _log_curves(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "learning_curves.png"
            plot_learning_curves(
                self._progress.history, path, self._progress.best_epoch, first_fine_tuned=self._hparams.freeze_epochs
            )
            self._run.log_artifact(path, "plots")


@dataclass(frozen=True)
class _Validation:
    source: ImageSource
    batches: tf.data.Dataset


def _seed_layers(network: keras.Model, seed: int, epoch: int) -> None:
    """Make draws inside the network depend on the epoch alone, as the order of the images does."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign([seed, epoch])


def _epoch_line(epoch: int, epochs: int, values: Mapping[str, float], wall_s: float, *, is_best: bool) -> str:
    shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
    return f"epoch {epoch + 1}/{epochs}  {wall_s:.1f} s  {shown}" + ("  (best)" if is_best else "")
