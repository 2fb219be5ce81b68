"""The one decode and the one resize of the platform."""

from onsight.images.files import ImageLimits
from onsight.images.reading import (
    ImageFile,
    decode_image,
    decode_reduced,
    load_image,
    read_image,
    read_image_file,
    reduced_size,
    resize_image,
)

__all__ = [
    "ImageFile",
    "ImageLimits",
    "decode_image",
    "decode_reduced",
    "load_image",
    "read_image",
    "read_image_file",
    "reduced_size",
    "resize_image",
]
