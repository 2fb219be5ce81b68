"""The network's stages: build it, train it, turn it into the serving graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onsight.bundle import GoldenImages
from onsight.config import AgreementConfig, ModelConfig, TrainConfig
from onsight.domain import DatasetVersion
from onsight.serving import load_images
from onsight.tracking import TrackedRun
from tasks.stage import stage

if TYPE_CHECKING:
    import keras

    from onsight.training import TrainingJob, TrainOutcome

__all__ = ["ExportedNetwork", "build_network", "export_network", "train_network"]

_GOLDEN_IMAGES = 8


@dataclass(frozen=True)
class ExportedNetwork:
    """A trained network as files: Keras, ONNX, and the answers that both agree on."""

    network: Path
    graph: Path
    golden: GoldenImages
    class_weights: NDArray[np.float32]


@stage("model")
def build_network(model: ModelConfig, train: TrainConfig, run: TrackedRun) -> keras.Model:
    """Build the network, from RGB pixels [N, H, W, 3] to probabilities [N, C], and log what the run will do."""
    from onsight.training import build_classifier

    network = build_classifier(model, train.hparams.seed)
    run.log_params({f"model.{name}": value for name, value in model.model_dump(mode="json").items()})
    run.log_params({f"hparams.{name}": value for name, value in train.hparams.model_dump(mode="json").items()})
    run.log_params({"augmentation": [item.model_dump(mode="json") for item in train.augmentation]})
    run.log_params({"model.parameters": network.count_params()})
    return network


@stage("training")
def train_network(network: keras.Model, dataset: DatasetVersion, job: TrainingJob, run: TrackedRun) -> TrainOutcome:
    """Train the network, live in MLflow."""
    from onsight.training import train_classifier

    outcome = train_classifier(network, dataset, job, run)
    run.log_params({"best_epoch": outcome.best_epoch + 1, "epochs_run": outcome.epochs_run})
    return outcome


@stage("serving graph")
def export_network(
    network: keras.Model, model: ModelConfig, agreement: AgreementConfig, dataset: DatasetVersion, folder: Path
) -> ExportedNetwork:
    """Save the network, export the serving graph, and refuse it unless both agree on real held-out images.

    Raises:
        ConversionError: They do not agree, or the network cannot be exported.
    """
    from onsight.training import build_encoder, check_agreement, classification_weights, export_serving_graph

    folder.mkdir(parents=True, exist_ok=True)
    keras_file, graph = folder / "model.keras", folder / "model.onnx"
    network.save(keras_file)
    drift = model.drift_detection
    # The encoder is the same for every version of a model: features of two versions can be compared.
    encoder = build_encoder(drift.uae_encoding_dims, drift.uae_input_size, seed=0)
    export_serving_graph(network, encoder, model, graph)
    images = load_images(dataset.splits["test"].paths[: agreement.n_images], model.input_size.w, model.input_size.h)
    check_agreement(network, graph, images, agreement)
    golden = images[:_GOLDEN_IMAGES]
    answers = np.asarray(network.predict_on_batch(golden), np.float32)
    weights = classification_weights(network, model)
    return ExportedNetwork(keras_file, graph, GoldenImages(golden, answers), weights)
