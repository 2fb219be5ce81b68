"""Taking an image out of a request: a bounded body, either raw or as the field ``file`` of a multipart form."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from services.dl_service.errors import BodyTooLargeError, MalformedBodyError, MissingFileError, ReceiveTimeoutError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["extract_file", "read_body", "read_upload"]

_FIELD = b"file"
_HINT = "send the image as multipart field 'file' (curl -F file=@image.jpg), or as the raw body"
# Boundaries, part headers and small extra fields around the image.
_MULTIPART_OVERHEAD_BYTES = 64 * 1024


async def read_upload(scope: Scope, receive: Receive, max_bytes: int, timeout_s: float) -> bytes:
    """The uploaded image's bytes, as they were sent; its format shows from its content alone.

    Raises:
        BodyTooLargeError: As soon as the body is known to be larger than ``max_bytes``.
        ReceiveTimeoutError: The client took longer than ``timeout_s``.
        MalformedBodyError: A multipart body that cannot be parsed.
        MissingFileError: No field ``file``, or nothing in it.
    """
    headers = dict(scope["headers"])
    kind, options = parse_options_header(headers.get(b"content-type", b""))
    is_multipart = kind == b"multipart/form-data"
    room = max_bytes + _MULTIPART_OVERHEAD_BYTES if is_multipart else max_bytes
    try:
        async with asyncio.timeout(timeout_s):
            body = await read_body(headers.get(b"content-length", b""), receive, room)
    except TimeoutError as error:
        raise ReceiveTimeoutError(f"the body did not arrive within {timeout_s:g} s") from error
    content = extract_file(body, options.get(b"boundary", b"")) if is_multipart else body
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    if not content:
        raise MissingFileError("the image is empty", _HINT)
    return content


def extract_file(body: bytes, boundary: bytes) -> bytes:
    """The content of the first part named ``file`` of a complete multipart body.

    Raises:
        MalformedBodyError: The body is not multipart, or ends too early.
        MissingFileError: No part has that name.
    """
    reader = _FileReader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise MalformedBodyError(f"the multipart body cannot be parsed: {error}", _HINT) from error
    if not reader.is_complete:
        raise MalformedBodyError("the multipart body ends before its last boundary", _HINT)
    if reader.content is None:
        raise MissingFileError("the form has no field 'file'", _HINT)
    return reader.content


class _FileReader:
    """Collects the part named ``file`` and passes over the others."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.is_complete = False
        self._header_name = b""
        self._header_value = b""
        self._is_wanted = False
        self._pieces: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_name,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_part_data": self._take_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._is_wanted = False
        self._pieces = []

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value)
            self._is_wanted = self.content is None and options.get(b"name") == _FIELD
        self._header_name = self._header_value = b""

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_wanted:
            self._pieces.append(data[start:end])

    def _end_part(self) -> None:
        if self._is_wanted:
            self.content = b"".join(self._pieces)

    def _end(self) -> None:
        self.is_complete = True


async def read_body(declared: bytes, receive: Receive, room: int) -> bytes:
    """A request's whole body.

    Args:
        declared: Its length as the header says, if it says.
        receive: The request's.
        room: Bytes that it may have.

    Raises:
        BodyTooLargeError: As soon as it is known to have more.
        ClientDisconnect: The client went away.
    """
    if declared.isdigit() and int(declared) > room:
        raise _too_large(room)
    chunks: list[bytes] = []
    received, is_more = 0, True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        received += len(chunk)
        if received > room:
            raise _too_large(room)
        chunks.append(chunk)
        is_more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body may have at most {max_bytes} bytes", max_bytes=max_bytes)
