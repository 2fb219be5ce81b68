"""A training run in a process of its own, that tests kill: python resumed_training.py CHECKPOINT_DIR PICTURE..."""

from __future__ import annotations

import sys
from pathlib import Path

from onsight.config import TrainConfig
from onsight.training import TrainingJob, TrainOutcome, build_classifier, train_classifier
from tests.servers.training import MemoryRun, model_config, small_set

TRAIN = {
    "hparams": {
        "epochs": 5,
        "freeze_epochs": 2,
        "batch_size": 16,
        "fine_tune_lr": 1e-3,
        "class_weights": "balanced",
        "monitor": "val_accuracy",
    },
    "augmentation": [{"name": "Fliplr", "args": {"p": 0.5}}, {"name": "Affine", "args": {"rotate": (-20, 20)}}],
}


def train(checkpoint_dir: Path, pictures: list[Path], run: MemoryRun, *, resume: bool = False) -> TrainOutcome:
    """Train a small network with everything that draws random numbers: shuffling, augmentation, dropout."""
    model, config = model_config(dropout=0.3), TrainConfig.model_validate(TRAIN)
    job = TrainingJob(model, config, checkpoint_dir, resume=resume)
    network = build_classifier(model, config.hparams.seed)
    return train_classifier(network, small_set(pictures), job, run, report=lambda line: print(line, flush=True))


if __name__ == "__main__":
    train(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]], MemoryRun())
