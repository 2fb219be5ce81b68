"""Training: networks, input pipeline, training loop, export. The one room that knows TensorFlow."""

from onsight.training.architectures import FEATURES_LAYER, build_classifier
from onsight.training.augmentation import Augmentation
from onsight.training.encoder import build_encoder
from onsight.training.export import AgreementReport, check_agreement, classification_weights, export_serving_graph
from onsight.training.predict import predict_probabilities
from onsight.training.quantization import quantize_graph
from onsight.training.trainer import TrainingJob, TrainOutcome, train_classifier

__all__ = [
    "FEATURES_LAYER",
    "AgreementReport",
    "Augmentation",
    "TrainOutcome",
    "TrainingJob",
    "build_classifier",
    "build_encoder",
    "check_agreement",
    "classification_weights",
    "export_serving_graph",
    "predict_probabilities",
    "quantize_graph",
    "train_classifier",
]
