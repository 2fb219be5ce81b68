"""Taking an image out of a request: a bounded body, either raw or as the field ``file`` of a multipart form."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from services.dl_service.errors import BodyTooLargeError, MalformedBodyError, MissingFileError, ReceiveTimeoutError

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
_MOST_PARTS = 1000
_LONGEST_HEAD = 8 * 1024


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
    files: list[UploadedFile] = []
    for head, place in _parts(body, boundary):
        name, filename = _names(head)
        if name in _FIELDS and len(files) < most:
            files.append(UploadedFile(filename.decode("utf-8", "replace")[:_LONGEST_FILENAME], body[place]))
    if not files:
        raise MissingFileError("the form has no field 'file'", _HINT)
    return files


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, slice]]:
    """Headers and place of each part (RFC 2046, section 5.1.1), each found by one search: an image is large.

    Raises:
        MalformedBodyError: What is no delimiter, no header or no end where there has to be one.
    """
    delimiter = b"\r\n--" + boundary
    # Some clients send an empty line first.
    before = 0 if body.startswith(b"\r\n") else 2
    if not boundary or not body.startswith(delimiter[before:]):
        raise _malformed("does not begin with the boundary that its content-type names")
    after = len(delimiter) - before
    for _ in range(_MOST_PARTS):
        if body.startswith(b"--", after):
            return
        line_end = body.find(b"\r\n", after, after + _LONGEST_HEAD)
        head_end = body.find(b"\r\n\r\n", line_end, line_end + _LONGEST_HEAD) if line_end >= 0 else -1
        if head_end < 0 or body[after:line_end].strip(b" \t"):
            raise _malformed("has a part without an end of its headers")
        end = body.find(delimiter, head_end + 4)
        if end < 0:
            raise _malformed("ends before its last boundary")
        yield body[line_end + 2 : head_end], slice(head_end + 4, end)
        after = end + len(delimiter)
    raise _malformed(f"has more than {_MOST_PARTS} parts")


def _names(head: bytes) -> tuple[bytes, bytes]:
    """Of the field and of its file; empty when the headers name none."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value.strip())
            return options.get(b"name", b""), options.get(b"filename", b"")
    return b"", b""


def _malformed(why: str) -> MalformedBodyError:
    return MalformedBodyError(f"the multipart body {why}", _HINT)


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
