"""What a training run needs to go on after it was killed: the network with its optimizer, and where it stood."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras

from onsight.errors import TrainingError

__all__ = ["Checkpoints", "Progress", "without_optimizer"]

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


@dataclass(frozen=True)
class Checkpoints:
    """The newest state of one run in a folder of its own.

    Attributes:
        fingerprint: Of what is trained and how; a state with another one is not continued.
    """

    directory: Path
    fingerprint: str

    def save(self, network: keras.Model, progress: Progress, *, is_best: bool) -> None:
        """Keep the state after an epoch.

        The pointer to it is replaced in one step, so that a kill at any moment leaves either this state or the one
        before.

        Raises:
            TrainingError: The folder cannot be written.
        """
        fresh = self._folder(progress)
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            network.save(fresh / _NETWORK)
            if is_best:
                without_optimizer(network).save_weights(fresh / _BEST)
            else:
                os.link(self._latest() / _BEST, fresh / _BEST)
            content = asdict(progress) | {"fingerprint": self.fingerprint}
            (fresh / _PROGRESS).write_text(json.dumps(content), encoding="utf-8")
            pointer = self.directory / f"{_POINTER}.new"
            pointer.write_text(json.dumps({"epoch": fresh.name}), encoding="utf-8")
            pointer.replace(self.directory / _POINTER)
        except OSError as error:
            raise TrainingError(
                f"the checkpoint in {self.directory} cannot be written: {error}", hint="check the disk's free space"
            ) from error
        for old in self.directory.glob("epoch-*"):
            if old != fresh:
                shutil.rmtree(old, ignore_errors=True)

    def load(self) -> tuple[keras.Model, Progress] | None:
        """The network with its optimizer, and the progress; None if there is no state.

        Raises:
            TrainingError: The state is damaged, or that of another config or data set.
        """
        if not (self.directory / _POINTER).exists():
            return None
        try:
            latest = self._latest()
            content = json.loads((latest / _PROGRESS).read_text(encoding="utf-8"))
            fingerprint, progress = content.pop("fingerprint"), Progress(**content)
            network = keras.saving.load_model(latest / _NETWORK) if fingerprint == self.fingerprint else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"the checkpoint in {self.directory} cannot be read: {error}",
                hint="start the run again without --resume",
            ) from error
        if network is None:
            raise TrainingError(
                f"the checkpoint in {self.directory} is of another config or data set",
                hint="give the config of the run to resume, or start again without --resume",
            )
        return network, progress

    def best(self, network: keras.Model, progress: Progress) -> keras.Model:
        """The network with the best epoch's weights, without optimizer and loss."""
        plain = without_optimizer(network)
        plain.load_weights(self._folder(progress) / _BEST)
        return plain

    def _folder(self, progress: Progress) -> Path:
        return self.directory / f"epoch-{progress.next_epoch:05d}"

    def _latest(self) -> Path:
        name = json.loads((self.directory / _POINTER).read_text(encoding="utf-8"))["epoch"]
        return self.directory / str(name)


def without_optimizer(network: keras.Model) -> keras.Model:
    """The same layers without optimizer and loss.

    The optimizer's state would triple the file, and does not fit any more once other layers learn.
    """
    return keras.Model(network.inputs[0], network.outputs[0], name=network.name)
