"""The one decode and the one resize of the platform; what a picture is like."""

from onsight.images.files import ImageLimits
from onsight.images.properties import ImageProperties, measure_properties
from onsight.images.reading import (
    ImageFile,
    decode_image,
    decode_reduced,
    load_image,
    load_image_file,
    read_image,
    read_image_file,
    reduced_size,
    resize_image,
)
from onsight.images.room import DecodingRoom

__all__ = [
    "DecodingRoom",
    "ImageFile",
    "ImageLimits",
    "ImageProperties",
    "decode_image",
    "decode_reduced",
    "load_image",
    "load_image_file",
    "measure_properties",
    "read_image",
    "read_image_file",
    "reduced_size",
    "resize_image",
]
