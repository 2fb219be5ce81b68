"""Explanations: where in an image the network found evidence for a class, as a map and as a picture."""

from onsight.explain.activation import class_activation_map
from onsight.explain.pictures import PictureFormat, encode_picture
from onsight.explain.rendering import MAX_SIDE, draw_heat_map, lay_over

__all__ = [
    "MAX_SIDE",
    "PictureFormat",
    "class_activation_map",
    "draw_heat_map",
    "encode_picture",
    "lay_over",
]
