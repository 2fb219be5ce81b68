"""What a training run needs to go on after it was killed: the network with its optimizer, and where it stood."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras

from onsight.errors import TrainingError

__all__ = ["Progress", "load_checkpoint", "save_checkpoint"]

_POINTER, _NETWORK, _BEST, _PROGRESS = "latest.json", "network.keras", "best.weights.h5", "progress.json"


@dataclass
class Progress:
    """Where a training run stands after an epoch.

    Attributes:
        next_epoch: The first epoch not yet done.
        history: Each metric's value by epoch.
        best_epoch: Epoch with the best monitored value, or -1 before the first.
        best_value: Of the monitored metric, or None before the first epoch.
    """

    next_epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = -1
    best_value: float | None = None

    def add(self, values: dict[str, float], *, monitored: str, lower_is_better: bool) -> bool:
        """Add an epoch's metrics; whether it is the best so far."""
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        value = values[monitored]
        sign = 1 if lower_is_better else -1
        is_best = self.best_value is None or sign * value < sign * self.best_value
        if is_best:
            self.best_epoch, self.best_value = self.next_epoch, value
        self.next_epoch += 1
        return is_best


def save_checkpoint(directory: Path, network: keras.Model, progress: Progress, *, is_best: bool) -> None:
    """Keep the state after an epoch. The pointer to it is replaced in one step, so that a kill at any moment leaves
    either this state or the one before.

    Raises:
        TrainingError: The folder cannot be written.
    """
    fresh = directory / f"epoch-{progress.next_epoch:05d}"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        network.save(fresh / _NETWORK)
        _keep_best(directory, fresh, network, is_best=is_best)
        (fresh / _PROGRESS).write_text(json.dumps(asdict(progress)), encoding="utf-8")
        pointer = directory / f"{_POINTER}.new"
        pointer.write_text(json.dumps({"epoch": fresh.name}), encoding="utf-8")
        pointer.replace(directory / _POINTER)
    except OSError as error:
        raise TrainingError(
            f"the checkpoint in {directory} cannot be written: {error.strerror}", hint="check the disk's free space"
        ) from error
    for old in directory.glob("epoch-*"):
        if old != fresh:
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(directory: Path) -> tuple[keras.Model, Path, Progress] | None:
    """The network with its optimizer, the best weights' file and the progress; None if there is no checkpoint.

    Raises:
        TrainingError: The checkpoint is damaged.
    """
    if not (directory / _POINTER).exists():
        return None
    try:
        latest = directory / json.loads((directory / _POINTER).read_text(encoding="utf-8"))["epoch"]
        progress = Progress(**json.loads((latest / _PROGRESS).read_text(encoding="utf-8")))
        return keras.saving.load_model(latest / _NETWORK), latest / _BEST, progress
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"the checkpoint in {directory} cannot be read: {error}", hint="start the run again without --resume"
        ) from error


def best_weights(directory: Path, progress: Progress) -> Path:
    """The file with the best epoch's weights."""
    return directory / f"epoch-{progress.next_epoch:05d}" / _BEST


def _keep_best(directory: Path, fresh: Path, network: keras.Model, *, is_best: bool) -> None:
    if is_best:
        network.save_weights(fresh / _BEST)
        return
    latest = directory / json.loads((directory / _POINTER).read_text(encoding="utf-8"))["epoch"]
    os.link(latest / _BEST, fresh / _BEST)
