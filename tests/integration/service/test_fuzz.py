"""Requests that no client would write, over real HTTP: forms, headers and targets. Never a 5xx, never a hang."""

from __future__ import annotations

import json
import socket

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import pictures
from tests.servers.dl_service import ServiceProcess

BOUNDED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BODY_ANSWERS = {200, 400, 413, 415, 422}
GOOD = pictures.jpeg(width=16, height=16)

boundaries = st.sampled_from([b"x", b"-", b"--", b"a" * 70, b"a b", b"", b"\xff", b'"q"', b"x; y=z"]) | st.binary(
    max_size=8
)
contents = st.sampled_from([GOOD, b"", b"\r\n", b"--x", b"\r\n--x--\r\n", GOOD[:40]]) | st.binary(max_size=60)
dispositions = st.sampled_from(
    [
        b'form-data; name="file"; filename="a.jpg"',
        b"form-data; name=file",
        b'form-data; name="file',
        b'FORM-DATA; NAME="file"',
        b"form-data; name*=utf-8''file",
        b'attachment; name="file"; name="other"',
        b'form-data; name="\xc3\xa9\x00"',
        b"form-data" + b";" * 500,
        b"",
    ]
)
names = st.sampled_from([b"Content-Disposition", b"content-disposition", b"Content-Type", b"X", b"", b"a b", b"\x00"])
lines = st.tuples(names, dispositions | st.binary(max_size=20)).map(b": ".join)
parts = st.tuples(st.lists(lines, max_size=4).map(b"\r\n".join), contents).map(b"\r\n\r\n".join)
tokens = st.text("abcdefghijklmnopqrstuvwxyz-_0123456789", min_size=1, max_size=20).map(str.encode)
values = st.binary(max_size=40) | st.sampled_from([b"0", b"-1", b"1e9", b"99999999999999999999", b"chunked", b"gzip"])
known = st.sampled_from(
    [
        b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"X-Request-ID", b"Expect", b"Connection", b"Upgrade",
        b"Authorization", b"X-API-Key", b"Content-Encoding", b"Host", b"Range", b"Cookie", b"Forwarded",
    ]
)  # fmt: skip
targets = st.sampled_from(
    [
        b"/", b"//", b"/predict", b"/predict/", b"/predict//", b"/predict?explain=%00", b"/predict?%ff=%fe",
        b"/predictions/%2e%2e%2f", b"/models/current/..", b"/update_model/%2e%2e%2fx.yaml", b"*", b"http://x/livez",
        b"/livez#a", b"/update_model/" + b"a" * 9000 + b".yaml", b"/%00",
    ]
) | st.binary(max_size=30).map(b"/".__add__)  # fmt: skip


def form(boundary: bytes, inner: list[bytes], *, is_ended: bool) -> bytes:
    """A form of these parts, each with its headers."""
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in inner)
    return body + (b"--" + boundary + b"--\r\n" if is_ended else b"")


def sendable(value: bytes) -> bytes:
    """Without what an HTTP client refuses to send in a header."""
    return value.translate(None, bytes(range(32)) + b"\x7f").strip()


def exchange(port: int, request: bytes) -> int:
    """Sends bytes as they are, ends the sending side, and gives the status; 0 when the server only hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:
            return 0  # refused before all of it was sent
    first_line = received.split(b"\r\n", 1)[0].split(b" ")
    return int(first_line[1]) if len(first_line) > 1 else 0


def assert_sound(service: ServiceProcess, http: httpx.Client, status: int) -> None:
    assert status < 500
    assert http.get("/livez").status_code == 200
    assert service.is_running


@BOUNDED
@given(boundary=boundaries, inner=st.lists(parts, max_size=4), is_ended=st.booleans(), cut=st.integers(0, 80))
def test_form_of_any_kind_gets_a_right_answer(
    http: httpx.Client, boundary: bytes, inner: list[bytes], is_ended: bool, cut: int
) -> None:
    body = form(boundary, inner, is_ended=is_ended)
    body = body[: len(body) - cut] if cut > 60 else body
    headers = [(b"Content-Type", sendable(b"multipart/form-data; boundary=" + boundary))]

    response = http.post("/predict", content=body, headers=headers)

    assert response.status_code in BODY_ANSWERS, response.text
    if not response.is_success:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"]


@BOUNDED
@given(media_type=st.binary(max_size=60) | st.sampled_from([b"multipart/form-data", b"multipart/form-data; boundary"]))
def test_content_type_of_any_kind_gets_a_right_answer(http: httpx.Client, media_type: bytes) -> None:
    response = http.post("/predict", content=GOOD, headers=[(b"Content-Type", sendable(media_type))])

    assert response.status_code in BODY_ANSWERS, response.text


@BOUNDED
@given(headers=st.lists(st.tuples(known | tokens, values).map(b": ".join), max_size=8), body=contents)
def test_headers_of_any_kind_do_no_harm(
    service: ServiceProcess, http: httpx.Client, headers: list[bytes], body: bytes
) -> None:
    head = b"\r\n".join([b"POST /predict HTTP/1.1", b"Host: localhost", b"Connection: close", *headers])

    assert_sound(service, http, exchange(service.port, head + b"\r\n\r\n" + body))


@BOUNDED
@given(method=st.sampled_from([b"GET", b"PUT", b"BREW", b"", b"\xff", b"get"]) | st.binary(max_size=6), target=targets)
def test_target_of_any_kind_does_no_harm(
    service: ServiceProcess, http: httpx.Client, method: bytes, target: bytes
) -> None:
    request = method + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    assert_sound(service, http, exchange(service.port, request))


@BOUNDED
@given(noise=st.binary(max_size=200))
def test_bytes_that_are_no_http_do_no_harm(service: ServiceProcess, http: httpx.Client, noise: bytes) -> None:
    assert_sound(service, http, exchange(service.port, noise))


def test_good_image_is_still_answered_afterwards(http: httpx.Client) -> None:
    answer = http.post("/predict", content=GOOD)

    assert answer.status_code == 200, answer.text
    assert json.loads(answer.text)["prediction"]
