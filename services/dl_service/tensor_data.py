"""The data of the Open Inference Protocol's input tensors: images as pixels or as files, in JSON or binary."""

from __future__ import annotations

import base64
import struct
from itertools import chain
from math import prod
from typing import Any

from services.dl_service.errors import InferRequestError, MalformedBodyError

__all__ = ["files_of_binary", "files_of_json", "pixels_of_binary", "pixels_of_json"]

_LENGTH = struct.Struct("<I")


def pixels_of_binary(binary: memoryview, shape: tuple[int, ...]) -> list[bytes]:
    """The bytes of each image's pixels.

    Raises:
        MalformedBodyError: More or fewer bytes than the shape says.
    """
    if len(binary) != prod(shape):
        raise MalformedBodyError(f"{len(binary)} bytes are no UINT8 {list(shape)}")
    size = prod(shape[1:])
    return [bytes(binary[start : start + size]) for start in range(0, len(binary), size)]


def files_of_binary(binary: memoryview, count: int) -> list[bytes]:
    """The elements of a BYTES tensor: each its length in four bytes, little-endian, and its content.

    Raises:
        MalformedBodyError: The lengths do not add up.
    """
    files: list[bytes] = []
    at = 0
    for _ in range(count):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(binary, at)[0] if start <= len(binary) else start
        if at > len(binary):
            raise MalformedBodyError(f"element {len(files)} of the BYTES tensor ends after the body")
        files.append(bytes(binary[start:at]))
    if at != len(binary):
        raise MalformedBodyError(f"the BYTES tensor holds more than the {count} elements of its shape")
    return files


def pixels_of_json(data: object, shape: tuple[int, ...]) -> list[bytes]:
    """The bytes of each image's pixels, from numbers that are flat, row by row, or nested as the shape says.

    Raises:
        InferRequestError: They are not such numbers.
    """
    expected = InferRequestError(f"'data' is not {list(shape)} whole numbers from 0 to 255, flat or nested")
    values: list[Any] = data if isinstance(data, list) else []
    if values and isinstance(values[0], list):
        if len(values) != shape[0]:
            raise expected
        for side in shape[1:]:
            if not all(isinstance(row, list) and len(row) == side for row in values):
                raise expected
            values = list(chain.from_iterable(values))
    if len(values) != prod(shape):
        raise expected
    try:
        pixels = bytes(values)
    except (TypeError, ValueError) as error:
        raise expected from error
    return pixels_of_binary(memoryview(pixels), shape)


def files_of_json(data: object, count: int) -> list[bytes]:
    """The files, from texts in base64.

    Raises:
        InferRequestError: They are not such texts.
    """
    if not isinstance(data, list) or len(data) != count or not all(isinstance(text, str) for text in data):
        raise InferRequestError(f"'data' is no list of {count} texts in base64")
    try:
        return [base64.b64decode(text, validate=True) for text in data]
    except ValueError as error:
        raise InferRequestError("an element of 'data' is no base64", "or send it as binary data") from error
