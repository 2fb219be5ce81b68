"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6, made for quick inference."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from onsight.training.lite0_weights import lite0_checkpoint_path, read_checkpoint

__all__ = ["lite0_features", "load_lite0_weights"]


@dataclass(frozen=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expand: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS, _HEAD_FILTERS = 32, 1280
# The mean and deviation that the weights were trained with: (x - 127) / 128, not ImageNet's.
_MEAN, _DEVIATION = 127.0, 128.0


def lite0_features(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Pixels 0..255 [N, H, W, 3] to features [N, H / 32, W / 32, 1280].

    Source: the EfficientNet-Lite models of the TensorFlow TPU repository; layout of Tan and Le, *EfficientNet*, 2019.
    """
    x = layers.Rescaling(1 / _DEVIATION, offset=-_MEAN / _DEVIATION, name="preprocessing")(pixels)
    x = _conv(x, _STEM_FILTERS, 3, 2, "_conv_stem")
    x = _normalise(x, "_bn0", activate=True)
    index = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            x = _block(x, stage, stage.stride if repeat == 0 else 1, f"_blocks.{index}.")
            index += 1
    x = _conv(x, _HEAD_FILTERS, 1, 1, "_conv_head")
    return _normalise(x, "_bn1", activate=True)


def load_lite0_weights(network: keras.Model) -> None:
    """Put the bundled ImageNet weights into the backbone layers of a network built by ``lite0_features``.

    Raises:
        TrainingError: The package with the weights is not installed, or its file is damaged.
    """
    tensors = read_checkpoint(lite0_checkpoint_path())
    for layer in network.layers:
        name = layer.name.removeprefix("lite").replace("-", ".")
        if not layer.name.startswith("lite"):
            continue
        if isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([tensors[f"{name}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([tensors[f"{name}.weight"].transpose(2, 3, 1, 0)])
        elif isinstance(layer, layers.BatchNormalization):
            layer.set_weights([tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])


def _block(x: keras.KerasTensor, stage: _Stage, stride: int, prefix: str) -> keras.KerasTensor:
    shortcut, n_in = x, x.shape[-1]
    if stage.expand != 1:
        x = _conv(x, n_in * stage.expand, 1, 1, prefix + "_expand_conv")
        x = _normalise(x, prefix + "_bn0", activate=True)
    depthwise = layers.DepthwiseConv2D(
        stage.kernel, stride, "same", use_bias=False, name=_safe(prefix + "_depthwise_conv")
    )
    x = _normalise(depthwise(x), prefix + "_bn1", activate=True)
    x = _conv(x, stage.filters, 1, 1, prefix + "_project_conv")
    x = _normalise(x, prefix + "_bn2", activate=False)
    return layers.Add(name=_safe(prefix + "_add"))([shortcut, x]) if stride == 1 and n_in == stage.filters else x


def _conv(x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=_safe(name))(x)


def _normalise(x: keras.KerasTensor, name: str, *, activate: bool) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=1e-3, name=_safe(name))(x)
    return layers.ReLU(6.0, name=_safe(name + "_relu"))(x) if activate else x


def _safe(name: str) -> str:
    """A layer's name for a name in the checkpoint, in letters that TensorFlow's scopes take."""
    return "lite" + name.replace(".", "-")
