"""Taking an image out of a request: a bounded body, either raw or as the field ``file`` of a multipart form."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from services.dl_service.errors import BodyTooLargeError, MalformedBodyError, MissingFileError, ReceiveTimeoutError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = [
    "UploadedFile",
    "expected_bytes",
    "extract_file",
    "extract_files",
    "read_body",
    "read_upload",
    "read_uploads",
    "receive_body",
]

_FIELDS = (b"file", b"files")
_LONGEST_FILENAME = 200
_HINT = "send the image as multipart field 'file' (curl -F file=@image.jpg), or as the raw body"
# Boundaries, part headers and small extra fields around the image.
_MULTIPART_OVERHEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class UploadedFile:
    """One file of a form.

    Attributes:
        name: As the client called it; shown back to it, never used as a path.
    """

    name: str
    content: bytes


def expected_bytes(scope: Scope, max_bytes: int) -> int:
    """How long a body may become: as its header says, or ``max_bytes`` where it says nothing or more than that."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return min(int(value), max_bytes)
    return max_bytes


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
    body = await receive_body(scope, receive, room, timeout_s)
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
    return extract_files(body, boundary, most=1)[0].content


def extract_files(body: bytes, boundary: bytes, most: int) -> list[UploadedFile]:
    """The parts named ``file`` or ``files`` of a complete multipart body, in their order; at most the first ``most``.

    Raises:
        MalformedBodyError: The body is not multipart, or ends too early.
        MissingFileError: There is none.
    """
    reader = _FileReader(most)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise MalformedBodyError(f"the multipart body cannot be parsed: {error}", _HINT) from error
    if not reader.is_complete:
        raise MalformedBodyError("the multipart body ends before its last boundary", _HINT)
    if not reader.files:
        raise MissingFileError("the form has no field 'file'", _HINT)
    return reader.files


class _FileReader:
    """Collects the parts that hold files and passes over the others."""

    def __init__(self, most: int) -> None:
        self.files: list[UploadedFile] = []
        self.is_complete = False
        self._most = most
        self._header_name = b""
        self._header_value = b""
        self._filename: str | None = None
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
        self._filename = None
        self._pieces = []

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value)
            if options.get(b"name") in _FIELDS and len(self.files) < self._most:
                self._filename = options.get(b"filename", b"").decode("utf-8", "replace")[:_LONGEST_FILENAME]
        self._header_name = self._header_value = b""

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._filename is not None:
            self._pieces.append(data[start:end])

    def _end_part(self) -> None:
        if self._filename is not None:
            self.files.append(UploadedFile(self._filename, b"".join(self._pieces)))

    def _end(self) -> None:
        self.is_complete = True


async def read_uploads(
    scope: Scope, receive: Receive, max_bytes: int, timeout_s: float, max_files: int
) -> list[UploadedFile]:
    """The files of a form; more than ``max_files`` of them are refused.

    Raises:
        BodyTooLargeError: As soon as the body is known to be larger than ``max_bytes``, or to hold too many files.
        ReceiveTimeoutError: The client took longer than ``timeout_s``.
        MalformedBodyError: No multipart body, or one that cannot be parsed.
        MissingFileError: No file.
    """
    headers = dict(scope["headers"])
    kind, options = parse_options_header(headers.get(b"content-type", b""))
    if kind != b"multipart/form-data":
        raise MalformedBodyError("the body is no multipart form", "send each image as a field 'file' of one form")
    body = await receive_body(scope, receive, max_bytes, timeout_s)
    files = extract_files(body, options.get(b"boundary", b""), max_files + 1)
    if len(files) > max_files:
        raise BodyTooLargeError(f"a batch may have at most {max_files} files", "send it in parts")
    return files


async def receive_body(scope: Scope, receive: Receive, max_bytes: int, timeout_s: float) -> bytes:
    """A request's whole body, within its limits.

    Raises:
        BodyTooLargeError: As soon as it is known to be larger than ``max_bytes``.
        ReceiveTimeoutError: The client took longer than ``timeout_s``.
        ClientDisconnect: The client went away.
    """
    declared = dict(scope["headers"]).get(b"content-length", b"")
    try:
        async with asyncio.timeout(timeout_s):
            return await read_body(declared, receive, max_bytes)
    except TimeoutError as error:
        raise ReceiveTimeoutError(f"the body did not arrive within {timeout_s:g} s") from error


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
