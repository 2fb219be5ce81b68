"""The Open Inference Protocol without HTTP: what is sent comes out, and nothing else gets in."""

from __future__ import annotations

import base64
import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onsight.errors import OnsightError
from services.dl_service.errors import BodyTooLargeError, InferRequestError, MalformedBodyError
from services.dl_service.open_inference import (
    MAX_JSON_ARRAYS,
    MAX_JSON_BYTES,
    OUTPUTS,
    InferRequest,
    ModelInput,
    RequestedOutput,
    parse_infer_request,
    render_infer_response,
)

HEIGHT, WIDTH = 2, 3
SIZE = HEIGHT * WIDTH * 3
TAKES = ModelInput(WIDTH, HEIGHT, max_images=4)

pixel_lists = st.lists(st.binary(min_size=SIZE, max_size=SIZE), min_size=1, max_size=4)
file_lists = st.lists(st.binary(max_size=40), min_size=1, max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(st.text(max_size=5), deeper, max_size=4),
    max_leaves=20,
)


def raw_input(count: int = 1, **changes: Any) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [count, HEIGHT, WIDTH, 3], "data": [7] * SIZE * count}
    return {name: value for name, value in {**tensor, **changes}.items() if value is not None}


def file_input(count: int = 1, **changes: Any) -> dict[str, Any]:
    tensor = {"name": "encoded_image", "datatype": "BYTES", "shape": [count], "data": ["aGk="] * count}
    return {name: value for name, value in {**tensor, **changes}.items() if value is not None}


def as_json(tensor: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": [tensor], **more}).encode()


def parse(tensor: dict[str, Any], **more: Any) -> InferRequest:
    return parse_infer_request(as_json(tensor, **more), None, TAKES)


def parse_binary(tensor: dict[str, Any], binary: bytes, **more: Any) -> InferRequest:
    size = {"binary_data_size": len(binary)}
    head = as_json({**tensor, "parameters": size}, **more)
    return parse_infer_request(head + binary, str(len(head)), TAKES)


@given(images=pixel_lists, nested=st.booleans())
def test_pixels_in_json_come_out(images: list[bytes], nested: bool) -> None:
    array = np.frombuffer(b"".join(images), np.uint8).reshape(-1, HEIGHT, WIDTH, 3)

    found = parse(raw_input(len(images), data=(array if nested else array.ravel()).tolist()))

    assert (found.contents, found.is_raw) == (images, True)


@given(images=pixel_lists)
def test_binary_pixels_come_out(images: list[bytes]) -> None:
    found = parse_binary(raw_input(len(images), data=None), b"".join(images))

    assert (found.contents, found.is_raw) == (images, True)


@given(files=file_lists)
def test_files_in_json_come_out(files: list[bytes]) -> None:
    found = parse(file_input(len(files), data=[base64.b64encode(content).decode() for content in files]))

    assert (found.contents, found.is_raw) == (files, False)


@given(files=file_lists)
def test_binary_files_come_out(files: list[bytes]) -> None:
    elements = b"".join(struct.pack("<I", len(content)) + content for content in files)

    found = parse_binary(file_input(len(files), data=None), elements)

    assert (found.contents, found.is_raw) == (files, False)


@given(
    rows=st.integers(1, 3),
    are_binary=st.lists(st.booleans(), min_size=1, max_size=4),
    request_id=st.none() | st.text(max_size=9),
    seed=st.integers(0, 2**32 - 1),
)
def test_rendered_tensors_can_be_read(rows: int, are_binary: list[bool], request_id: str | None, seed: int) -> None:
    draw = np.random.default_rng(seed)
    outputs = [RequestedOutput(name, flag) for name, flag in zip(OUTPUTS, are_binary, strict=False)]
    tensors = {output.name: draw.normal(0, 1, (rows, 2, 3)).astype(np.float32) for output in outputs}
    asked = InferRequest([], is_raw=True, outputs=outputs, request_id=request_id)

    body, json_length = render_infer_response(asked, "cells", 3, ["p"] * rows, tensors)

    assert (json_length is not None) == any(output.is_binary for output in outputs)
    message, binary = json.loads(body[:json_length]), body[json_length:] if json_length else b""
    assert (message["model_name"], message["model_version"], message.get("id")) == ("cells", "3", request_id)
    assert message["parameters"] == {"prediction_ids": ["p"] * rows}
    for output, found in zip(outputs, message["outputs"], strict=True):
        assert (found["name"], found["datatype"], found["shape"]) == (output.name, "FP32", [rows, 2, 3])
        if output.is_binary:
            size = found["parameters"]["binary_data_size"]
            values, binary = np.frombuffer(binary[:size], "<f4"), binary[size:]
        else:
            values = np.array(found["data"], np.float32)
        np.testing.assert_array_equal(values, tensors[output.name].ravel())
    assert binary == b""


@given(body=st.binary(max_size=200), length=st.none() | st.text(max_size=4) | st.integers(-1, 200).map(str))
def test_any_bytes_are_read_or_refused(body: bytes, length: str | None) -> None:
    with pytest.raises(OnsightError):
        parse_infer_request(body, length, TAKES)


@given(
    where=st.sampled_from(["name", "datatype", "shape", "data", "parameters"]),
    value=json_values,
    tensor=st.sampled_from([raw_input(), file_input()]),
    more=st.dictionaries(st.sampled_from(["id", "outputs", "parameters"]), json_values),
)
def test_any_json_is_read_or_refused(where: str, value: object, tensor: dict[str, Any], more: dict[str, Any]) -> None:
    with suppress(OnsightError):
        assert len(parse({**tensor, where: value}, **more).contents) == 1


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (raw_input(name="other"), InferRequestError),
        (raw_input(name=3), InferRequestError),
        (raw_input(datatype="FP32"), InferRequestError),
        (raw_input(shape=[1, WIDTH, HEIGHT, 3]), InferRequestError),
        (raw_input(shape=[SIZE]), InferRequestError),
        (raw_input(shape=[]), InferRequestError),
        (raw_input(shape=[True, HEIGHT, WIDTH, 3]), InferRequestError),
        (raw_input(shape=[-1, HEIGHT, WIDTH, 3]), InferRequestError),
        (raw_input(0), InferRequestError),
        (raw_input(shape=[10**18, HEIGHT, WIDTH, 3]), BodyTooLargeError),
        (raw_input(5), BodyTooLargeError),
        (raw_input(data=[7] * (SIZE - 1)), InferRequestError),
        (raw_input(data=[256] * SIZE), InferRequestError),
        (raw_input(data=[0.5] * SIZE), InferRequestError),
        (raw_input(data=["7"] * SIZE), InferRequestError),
        (raw_input(data=[[7] * SIZE]), InferRequestError),
        (raw_input(data="7" * SIZE), InferRequestError),
        (raw_input(data=[[[[7, 7, 7]] * WIDTH] * HEIGHT] * 2), InferRequestError),
        (raw_input(data=None), InferRequestError),
        (raw_input(parameters={"binary_data_size": 0}), InferRequestError),
        (raw_input(data=None, parameters={"binary_data_size": SIZE}), MalformedBodyError),
        (raw_input(parameters={"shared_memory_region": "x"}), InferRequestError),
        (raw_input(parameters=[]), InferRequestError),
        (file_input(shape=[1, 1]), InferRequestError),
        (file_input(5), BodyTooLargeError),
        (file_input(data=["no base64"]), InferRequestError),
        (file_input(data=["é"]), InferRequestError),
        (file_input(data=[7]), InferRequestError),
        (file_input(data=["aGk=", "aGk="]), InferRequestError),
    ],
)
def test_input_that_the_model_does_not_take_is_refused(tensor: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        parse(tensor)


@pytest.mark.parametrize("binary", [b"", b"\1\0\0", b"\2\0\0\0a", b"\xff\xff\xff\xffa", b"\1\0\0\0ab"])
def test_binary_files_whose_lengths_do_not_add_up_are_refused(binary: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        parse_binary(file_input(data=None), binary)


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
def test_binary_pixels_of_another_size_are_refused(size: int) -> None:
    with pytest.raises(MalformedBodyError):
        parse_binary(raw_input(data=None), bytes(size))


@pytest.mark.parametrize("length", ["", "-1", "x", "٣", "9" * 5000, "100000"])
def test_json_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(MalformedBodyError, match="Inference-Header-Content-Length"):
        parse_infer_request(as_json(raw_input()), length, TAKES)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        parse_infer_request(body, None, TAKES)


@pytest.mark.parametrize("inputs", [None, {}, [], [3], [raw_input(), file_input()]])
def test_inputs_that_are_not_one_tensor_are_refused(inputs: object) -> None:
    with pytest.raises(InferRequestError, match="inputs"):
        parse_infer_request(json.dumps({"inputs": inputs}).encode(), None, TAKES)


def test_json_beyond_its_limits_is_refused() -> None:
    with pytest.raises(BodyTooLargeError, match="binary"):
        parse_infer_request(b" " * (MAX_JSON_BYTES + 1), None, TAKES)
    with pytest.raises(BodyTooLargeError, match="flat"):
        parse_infer_request(b'{"inputs": [' + b"[]," * MAX_JSON_ARRAYS + b"[]]}", None, TAKES)


def test_outputs_are_the_probabilities_unless_named() -> None:
    assert parse(raw_input()).outputs == [RequestedOutput("probabilities", is_binary=False)]
    assert parse(raw_input(), outputs=[]).outputs == [RequestedOutput("probabilities", is_binary=False)]


def test_outputs_are_binary_as_they_or_the_request_say() -> None:
    asked = [{"name": "activation_map"}, {"name": "uae_features", "parameters": {"binary_data": False}}]

    found = parse(raw_input(), outputs=asked, parameters={"binary_data_output": True})

    assert found.outputs == [RequestedOutput("activation_map", True), RequestedOutput("uae_features", False)]


@pytest.mark.parametrize(
    "more",
    [
        {"outputs": [{"name": "logits"}]},
        {"outputs": [{"name": "probabilities"}, {"name": "probabilities"}]},
        {"outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]},
        {"outputs": [{"name": "probabilities", "parameters": {"binary_data": 1}}]},
        {"outputs": [{}]},
        {"outputs": ["probabilities"]},
        {"outputs": "probabilities"},
        {"parameters": {"binary_data_output": "yes"}},
        {"id": 7},
        {"id": "x" * 1001},
    ],
)
def test_outputs_that_the_model_does_not_give_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InferRequestError):
        parse(raw_input(), **more)
