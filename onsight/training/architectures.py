"""Networks by name: pixels in, probabilities out, preprocessing inside.

Every network has the same end, so that a class activation map is a weighted sum: feature maps (layer ``features_map``,
[N, h, w, F]), their mean over the image, dropout, and one dense layer.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from keras import layers
from keras.src.random import seed_generator

from onsight.config import ModelConfig
from onsight.errors import TrainingError
from onsight.training.efficientnet_lite import lite0_features, load_lite0_weights

__all__ = ["FEATURES_LAYER", "build_classifier"]

FEATURES_LAYER = "features_map"
_DOWNLOAD_TIMEOUT_S = 20.0

# Keras Applications: constructor, its extra arguments, and how pixels 0..255 become what its weights expect. None: the
# network preprocesses by itself.
_TORCH_MEAN, _TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def _tf_style(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")(x)


def _torch_style(x: keras.KerasTensor) -> keras.KerasTensor:
    variance = [std**2 for std in _TORCH_STD]
    scaled = layers.Rescaling(1 / 255, name="scaling")(x)
    return layers.Normalization(mean=_TORCH_MEAN, variance=variance, name="preprocessing")(scaled)


def _caffe_style(x: keras.KerasTensor) -> keras.KerasTensor:
    # ResNet50's weights were trained on BGR. The swap is part of this graph: no image outside it is ever BGR.
    bgr = keras.ops.flip(x, axis=-1)
    return layers.Normalization(mean=_CAFFE_MEAN_BGR, variance=(1.0, 1.0, 1.0), name="preprocessing")(bgr)


def _as_it_is(x: keras.KerasTensor) -> keras.KerasTensor:
    return x


_Preprocess = Callable[[keras.KerasTensor], keras.KerasTensor]
_APPLICATIONS: dict[str, tuple[str, dict[str, Any], _Preprocess]] = {
    "resnet50": ("ResNet50", {}, _caffe_style),
    "mobilenet_v3_small": ("MobileNetV3Small", {"include_preprocessing": True}, _as_it_is),
    "mobilenet_v3_large": ("MobileNetV3Large", {"include_preprocessing": True}, _as_it_is),
    "efficientnet_v2_b0": ("EfficientNetV2B0", {"include_preprocessing": True}, _as_it_is),
    "efficientnet_v2_s": ("EfficientNetV2S", {"include_preprocessing": True}, _as_it_is),
    "densenet121": ("DenseNet121", {}, _torch_style),
    "xception": ("Xception", {}, _tf_style),
}


def build_classifier(config: ModelConfig, seed: int) -> keras.Model:
    """Build a network with its starting weights.

    Args:
        config: The architecture, its input, its classes and where its weights come from.
        seed: Of every weight that is not loaded.

    Returns:
        A network from RGB pixels 0..255 [N, H, W, 3], uint8 or float, to probabilities float32 [N, C].

    Raises:
        TrainingError: Weights cannot be had, or do not fit.
    """
    keras.utils.set_random_seed(seed)
    with _draws_of_its_own(seed):
        network = _assemble(config, seed)
    if config.weights == "bundled":
        load_lite0_weights(network)
    elif isinstance(config.weights, Path):
        _load_file(network, config.weights)
    return network


@contextmanager
def _draws_of_its_own(seed: int) -> Iterator[None]:
    """Keep other threads out of the draws of starting weights.

    Keras takes their seeds from Python's shared generator. Prefect's and MLflow's threads use that one too, and one
    draw of theirs in between made another network of the same seed.
    """
    shared = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    try:
        yield
    finally:
        seed_generator.python_random = shared


def _assemble(config: ModelConfig, seed: int) -> keras.Model:
    pixels = keras.Input((config.input_size.h, config.input_size.w, 3), name="image")
    features = layers.Identity(name=FEATURES_LAYER)(_features(config, pixels))
    x = layers.GlobalAveragePooling2D(name="pooling")(features)
    x = layers.Dropout(config.dropout, seed=seed, name="dropout")(x)
    head = layers.Dense(len(config.classes), config.classifier_activation, name=config.classification_layer)
    return keras.Model(pixels, head(x), name=config.model_name)


def _features(config: ModelConfig, pixels: keras.KerasTensor) -> keras.KerasTensor:
    if config.architecture == "small_cnn":
        return _small_cnn(pixels)
    if config.architecture == "efficientnet_lite0":
        return lite0_features(pixels)
    name, arguments, preprocess = _APPLICATIONS[config.architecture]
    weights = "imagenet" if config.weights == "imagenet" else None
    previous_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        backbone = getattr(keras.applications, name)(
            include_top=False, weights=weights, input_tensor=preprocess(pixels), **arguments
        )
    except Exception as error:  # Keras raises a plain Exception when a download fails
        if weights is None:
            size = config.input_size
            raise TrainingError(
                f"{config.architecture} cannot be built for {size.w} x {size.h} pixels: {error}",
                hint="give a larger model.input_size",
            ) from error
        raise TrainingError(
            f"the ImageNet weights of {config.architecture} could not be downloaded: {error}",
            hint="without internet: copy the file into ~/.keras/models on this machine, set weights to a file, or none",
        ) from error
    finally:
        socket.setdefaulttimeout(previous_s)
    return backbone.output


def _small_cnn(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Four convolutions with batch normalisation: enough for small pictures, quick on a CPU."""
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")(pixels)
    for index, filters in enumerate((32, 64, 128, 128)):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{index}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"conv_{index}_norm")(x)
        x = layers.ReLU(name=f"conv_{index}_relu")(x)
        if index < 3:  # noqa: PLR2004 - the last convolution keeps its resolution for the activation map
            x = layers.MaxPooling2D(name=f"conv_{index}_pool")(x)
    return x


def _load_file(network: keras.Model, path: Path) -> None:
    """Weights of an earlier network: all of them, or all but the head if its classes differ."""
    if not path.is_file():
        raise TrainingError(f"weights: there is no file {path}", hint="give a .keras file of an earlier run or bundle")
    try:
        source = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"weights: {path} is no .keras file: {error}") from error
    theirs = {layer.name: layer.get_weights() for layer in source.layers}
    misfits = []
    for layer in network.layers:
        weights = layer.get_weights()
        if [w.shape for w in theirs.get(layer.name, [])] == [w.shape for w in weights]:
            layer.set_weights(theirs.get(layer.name, []))
        elif layer is not network.layers[-1]:
            misfits.append(layer.name)
    if misfits:
        raise TrainingError(f"weights: {path} is of another architecture: {', '.join(misfits[:3])} do not fit")
