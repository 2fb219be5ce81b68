"""The training loop: freeze then unfreeze, best epoch kept, every epoch logged, able to go on after a kill."""

from __future__ import annotations

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
from onsight.training.checkpoint import Progress, best_weights, load_checkpoint, save_checkpoint
from onsight.training.objective import balanced_row_weights, compile_network, freeze
from onsight.training.pipeline import ImageSource, TrainingBatches, plain_batches

__all__ = ["TrainOutcome", "TrainingJob", "train_classifier"]


@dataclass(frozen=True)
class TrainOutcome:
    """A trained network, at its best epoch.

    Attributes:
        best_epoch: Counted from 0.
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
        run: Gets each epoch's metrics as it ends.
        report: Gets a line of progress per epoch.

    Raises:
        TrainingError: The loss is no number any more, or a checkpoint cannot be written or read.
        ConfigError: An augmenter does not take its arguments.
        ImageError: An image cannot be read.
    """
    return _Loop(network, job, run, report).train(dataset)


class _Loop:
    def __init__(self, network: keras.Model, job: TrainingJob, run: TrackedRun, report: Callable[[str], None]) -> None:
        self._network, self._job, self._run, self._report = network, job, run, report
        self._model, self._config, self._hparams = job.model, job.train, job.train.hparams
        self._progress = Progress()

    def train(self, dataset: DatasetVersion) -> TrainOutcome:
        directory = self._job.checkpoint_dir
        # Same seed, same run: without it, sums in another order give other last digits, and other weights in the end.
        tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(self._hparams.seed)
        batches, valid = self._batches(dataset)
        if not (self._job.resume and self._restore(directory)):
            self._start_phase(batches.steps)
        started_s = time.monotonic()
        while self._progress.next_epoch < self._hparams.epochs and not self._should_stop():
            if 0 < self._progress.next_epoch == self._hparams.freeze_epochs:
                self._start_phase(batches.steps)
            self._epoch(batches, valid, directory)
        self._network.load_weights(best_weights(directory, self._progress))
        return TrainOutcome(
            network=self._network,
            best_epoch=self._progress.best_epoch,
            epochs_run=self._progress.next_epoch,
            history=self._progress.history,
            train_s=time.monotonic() - started_s,
        )

    def _batches(self, dataset: DatasetVersion) -> tuple[TrainingBatches, tf.data.Dataset]:
        size = self._model.input_size
        train = ImageSource(dataset.splits["train"], size.w, size.h)
        labels = train.split.labels
        balanced = self._hparams.class_weights == "balanced"
        batches = TrainingBatches(
            source=train,
            augmentation=Augmentation(self._config.augmentation),
            row_weights=balanced_row_weights(labels) if balanced else np.ones(len(labels), np.float32),
            batch_size=self._hparams.batch_size,
            seed=self._hparams.seed,
            workers=self._config.workers,
        )
        return batches, plain_batches(ImageSource(dataset.splits["valid"], size.w, size.h), self._hparams.batch_size)

    def _start_phase(self, steps_per_epoch: int) -> None:
        """Freeze or unfreeze, with a fresh optimizer and schedule over the phase's epochs."""
        hparams, epoch = self._hparams, self._progress.next_epoch
        is_frozen = epoch < hparams.freeze_epochs
        pretrained = self._model.weights != "none"
        freeze(self._network, unfrozen_share=0 if is_frozen else hparams.unfreeze_share, pretrained=pretrained)
        # Without a frozen phase there is no head to protect: the whole network starts at init_lr.
        fine_tunes = epoch > 0
        epochs = hparams.freeze_epochs if is_frozen else hparams.epochs - epoch
        compile_network(
            self._network,
            self._model,
            hparams,
            hparams.fine_tune_lr if fine_tunes else hparams.init_lr,
            epochs * steps_per_epoch,
        )

    def _restore(self, directory: Path) -> bool:
        found = load_checkpoint(directory)
        if found is None:
            return False
        self._network, _, self._progress = found
        self._report(f"going on after epoch {self._progress.next_epoch} of {self._hparams.epochs}")
        return True

    def _epoch(self, batches: TrainingBatches, valid: tf.data.Dataset, directory: Path) -> None:
        epoch, started_s = self._progress.next_epoch, time.monotonic()
        # Draws inside the network depend on the epoch alone, as the order of the images does.
        keras.utils.set_random_seed(self._hparams.seed + epoch)
        fitted = self._network.fit(batches.epoch(epoch), epochs=1, verbose=0).history
        values = {name: float(series[0]) for name, series in fitted.items()}
        if not np.isfinite(values["loss"]):
            raise TrainingError(
                f"the loss is {values['loss']} after epoch {epoch + 1}",
                hint="lower train.hparams.init_lr or fine_tune_lr",
            )
        for name, value in self._network.evaluate(valid, verbose=0, return_dict=True).items():
            values[f"val_{name}"] = float(value)
        monitored = self._hparams.monitor
        is_best = self._progress.add(values, monitored=monitored, lower_is_better=monitored == "val_loss")
        save_checkpoint(directory, self._network, self._progress, is_best=is_best)
        self._run.log_metrics(values, step=epoch)
        self._report(_epoch_line(epoch, self._hparams.epochs, values, time.monotonic() - started_s, is_best=is_best))

    def _should_stop(self) -> bool:
        patience = self._hparams.early_stopping_patience
        since_best = self._progress.next_epoch - 1 - self._progress.best_epoch
        # The frozen phase only prepares the head: stopping starts to count when fine-tuning has begun.
        fine_tuned = self._progress.next_epoch - self._hparams.freeze_epochs
        return 0 < patience <= min(since_best, fine_tuned)


def _epoch_line(epoch: int, epochs: int, values: Mapping[str, float], wall_s: float, *, is_best: bool) -> str:
    shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
    return f"epoch {epoch + 1}/{epochs}  {wall_s:.1f} s  {shown}" + ("  (best)" if is_best else "")
