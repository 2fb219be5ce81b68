"""The untrained autoencoder's encoder half (UAE): a few random convolutions whose outputs drift detectors watch."""

from __future__ import annotations

import keras
from keras import layers

__all__ = ["build_encoder"]

# An eighth of the filters of the encoder that Rabanser et al. used: at 32 px it then costs 0.4 million
# multiplications an image, little beside any classifier.
_FILTERS = (8, 16, 32)


def build_encoder(dims: int, input_size: int, seed: int) -> keras.Model:
    """Build an encoder with random weights; the same seed gives the same weights.

    It is never trained: a random projection keeps enough of an image's look for two-sample tests. Source: Rabanser,
    Günnemann and Lipton, *Failing Loudly*, NeurIPS 2019.

    Args:
        dims: Features per image.
        input_size: Side of the square image that it sees, pixels.
        seed: Of the weights.

    Returns:
        A network from RGB pixels 0..255, float [N, input_size, input_size, 3], to features float32 [N, dims].
    """
    draw = iter(range(seed, seed + len(_FILTERS) + 1))
    pixels = keras.Input((input_size, input_size, 3), name="pixels")
    x = layers.Rescaling(1 / 255, name="scaling")(pixels)
    for index, filters in enumerate(_FILTERS):
        kernel = keras.initializers.GlorotUniform(seed=next(draw))
        x = layers.Conv2D(
            filters, 4, 2, "same", activation="relu", kernel_initializer=kernel, name=f"encoder_conv_{index}"
        )(x)
    # A dense layer over all places, written as a convolution as large as its input: it needs no reshape in the graph.
    kernel = keras.initializers.GlorotUniform(seed=next(draw))
    x = layers.Conv2D(dims, x.shape[1], kernel_initializer=kernel, name="encoder_dense")(x)
    return keras.Model(pixels, layers.GlobalAveragePooling2D(name="encoder")(x), name="uae")
