"""Training: networks, input pipeline, training loop, export. The one room that knows TensorFlow."""

from onsight.training.architectures import FEATURES_LAYER, build_classifier
from onsight.training.augmentation import Augmentation
from onsight.training.predict import predict_probabilities
from onsight.training.trainer import TrainingJob, TrainOutcome, train_classifier

__all__ = [
    "FEATURES_LAYER",
    "Augmentation",
    "TrainOutcome",
    "TrainingJob",
    "build_classifier",
    "predict_probabilities",
    "train_classifier",
]
