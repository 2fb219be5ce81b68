"""Taking the image out of a request's body."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import File, FormParser, parse_options_header
from starlette.types import Message, Receive, Scope

from services.dl_service.errors import (
    BodyTooLargeError,
    MalformedBodyError,
    MissingFileError,
    ReceiveTimeoutError,
    ServiceError,
)
from services.dl_service.uploads import extract_file, extract_files, read_upload

BOUNDARY = b"b0undary"
Sent = tuple[Scope, Receive]
FORM = "multipart/form-data; boundary=b0undary"


def form(*parts: tuple[bytes, bytes]) -> bytes:
    lines = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="x.jpg"\r\nContent-Type: image/jpeg\r\n\r\n%b\r\n'
        % (BOUNDARY, name, content)
        for name, content in parts
    ]
    return b"".join(lines) + b"--%b--\r\n" % BOUNDARY


def request(chunks: Sequence[bytes], content_type: str = "", *, declared: str = "", ends: bool = True) -> Sent:
    headers = [(b"content-type", content_type.encode())]
    if declared:
        headers.append((b"content-length", declared.encode()))
    left = list(chunks)

    async def receive() -> Message:
        if not left and not ends:
            await asyncio.Event().wait()
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left) or not ends}

    return {"type": "http", "method": "POST", "headers": headers, "path": "/predict"}, receive


def upload(made: Sent, max_bytes: int = 1000, timeout_s: float = 5) -> bytes:
    return asyncio.run(read_upload(*made, max_bytes, timeout_s))


@given(content=st.binary(max_size=5000))
def test_extract_file_gives_back_any_content(content: bytes) -> None:
    body = form((b"other", b"1"), (b"file", content), (b"file", b"second"))

    assert extract_file(body, BOUNDARY) == content


@pytest.mark.parametrize("content", [b"\r\n--b0undar", b"\r\n--", b"--b0undaryx", b"\r\r\n\n"])
def test_extract_file_of_content_that_looks_like_a_boundary(content: bytes) -> None:
    assert extract_file(form((b"file", content)), BOUNDARY) == content


@pytest.mark.parametrize("change", range(40))
def test_extract_files_agrees_with_a_library_on_what_http_clients_send(change: int) -> None:
    rng = random.Random(change)
    names = [rng.choice(["file", "files", "other"]) for _ in range(rng.randint(1, 6))]
    sent = [(name, (f"{name} {i}.jpg", rng.randbytes(rng.choice([0, 1, 5000])))) for i, name in enumerate(names)]
    encoded = httpx.Request("POST", "http://localhost", files=[*sent, ("file", ("ü.png", b"last"))])
    body, (_, options) = encoded.read(), parse_options_header(encoded.headers["content-type"])

    found = extract_files(body, options[b"boundary"], most=100)

    assert [(file.name, file.content) for file in found] == files_by_library(body, options[b"boundary"])


def files_by_library(body: bytes, boundary: bytes) -> list[tuple[str, bytes]]:
    files: list[tuple[str, bytes]] = []

    def take(part: File) -> None:
        part.file_object.seek(0)
        if part.field_name in (b"file", b"files"):
            files.append(((part.file_name or b"").decode(), part.file_object.read()))

    parser = FormParser("multipart/form-data", on_field=None, on_file=take, boundary=boundary)
    parser.write(body)
    parser.finalize()
    return files


@pytest.mark.parametrize(
    "body",
    [
        b"--b0undary",
        b"--b0undary\r\n",
        b"--b0undaryX\r\n\r\nimage\r\n--b0undary--",
        b"--b0undary\r\nContent-Disposition: form-data; name=file\r\nimage\r\n--b0undary--",
        b"--b0undary\r\n" + b"X: y\r\n" * 5000 + b"\r\nimage\r\n--b0undary--",
        form(*[(b"other", b"")] * 1001),
    ],
    ids=["one-boundary", "one-line", "not-the-boundary", "no-head", "long-head", "many-parts"],
)
def test_extract_file_of_a_body_that_is_no_form(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        extract_file(body, BOUNDARY)


def test_extract_file_of_a_part_without_headers_passes_over_it() -> None:
    assert extract_file(b"--b0undary \t\r\n\r\nx\r\n" + form((b"file", b"image")), BOUNDARY) == b"image"


@given(body=st.binary(max_size=300), boundary=st.binary(max_size=20))
def test_extract_file_of_anything_raises_nothing_but_service_errors(body: bytes, boundary: bytes) -> None:
    with pytest.raises(ServiceError):
        extract_file(body, boundary)


@pytest.mark.parametrize(
    ("chunks", "content_type"),
    [
        ([b"image"], "image/jpeg"),
        ([b"im", b"age"], ""),
        ([b"image"], "application/x-www-form-urlencoded"),
        ([form((b"file", b"image"))], FORM),
        ([b"\r\n", form((b"file", b"image"))], FORM),
        ([form((b"file", b"image"))[:30], form((b"file", b"image"))[30:]], FORM),
    ],
    ids=["raw", "chunks", "curl-default", "form", "form-after-an-empty-line", "form-in-chunks"],
)
def test_read_upload_gives_the_image(chunks: list[bytes], content_type: str) -> None:
    assert upload(request(chunks, content_type)) == b"image"


@pytest.mark.parametrize(
    ("chunks", "content_type", "error"),
    [
        ([b""], "image/jpeg", MissingFileError),
        ([form((b"file", b""))], FORM, MissingFileError),
        ([form((b"image", b"x"))], FORM, MissingFileError),
        ([form((b"file", b"image"))[:-10]], FORM, MalformedBodyError),
        ([b"no form at all"], FORM, MalformedBodyError),
        ([b"x"], "multipart/form-data", MalformedBodyError),
        ([b"x" * 1001], "", BodyTooLargeError),
        ([b"x" * 600, b"x" * 600], "", BodyTooLargeError),
        ([form((b"file", b"x" * 1001))], FORM, BodyTooLargeError),
    ],
    ids=[
        "empty",
        "empty-file",
        "wrong-field",
        "cut-short",
        "no-form",
        "no-boundary",
        "too-large",
        "too-large-in-chunks",
        "too-large-file",
    ],
)
def test_read_upload_of_a_wrong_body_names_the_problem(
    chunks: list[bytes], content_type: str, error: type[ServiceError]
) -> None:
    with pytest.raises(error):
        upload(request(chunks, content_type))


def test_read_upload_of_a_declared_size_that_is_too_large_reads_nothing() -> None:
    with pytest.raises(BodyTooLargeError):
        upload(request([], declared="1001", ends=False))


def test_read_upload_from_a_client_that_stops_sending_times_out() -> None:
    with pytest.raises(ReceiveTimeoutError):
        upload(request([b"ima"], ends=False), timeout_s=0.05)
