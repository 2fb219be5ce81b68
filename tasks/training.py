"""The network's stages: build it and train it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onsight.config import ModelConfig, TrainConfig
from onsight.domain import DatasetVersion
from onsight.tracking import TrackedRun
from tasks.stage import stage

if TYPE_CHECKING:
    import keras

    from onsight.training import TrainOutcome

__all__ = ["build_network", "train_network"]


@stage("model")
def build_network(config: ModelConfig, seed: int) -> keras.Model:
    """Build the network: from uint8 RGB pixels [N, H, W, 3] to probabilities [N, C]."""
    from onsight.training import build_classifier

    return build_classifier(config, seed)


@stage("training")
def train_network(
    network: keras.Model,
    model_config: ModelConfig,
    dataset: DatasetVersion,
    config: TrainConfig,
    run: TrackedRun,
    checkpoint_dir: Path,
) -> TrainOutcome:
    """Train the network; go on from ``checkpoint_dir`` if an interrupted run left its state there."""
    from onsight.training import train_classifier

    resume = checkpoint_dir.exists()
    return train_classifier(network, model_config, dataset, config, run, checkpoint_dir, resume=resume)
