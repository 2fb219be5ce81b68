"""The Open Inference Protocol v2 without HTTP: requests parsed, answers rendered, as JSON and with binary tensors.

The protocol is KServe's and Triton's (https://github.com/kserve/open-inference-protocol), the binary form is Triton's
extension ``binary_tensor_data``: JSON as long as ``Inference-Header-Content-Length`` says, then the tensors' bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from services.dl_service.errors import BodyTooLargeError, InferRequestError, MalformedBodyError
from services.dl_service.tensor_data import files_of_binary, files_of_json, pixels_of_binary, pixels_of_json

__all__ = [
    "ENCODED_INPUT",
    "MAX_JSON_ARRAYS",
    "MAX_JSON_BYTES",
    "OUTPUTS",
    "RAW_INPUT",
    "InferRequest",
    "ModelInput",
    "RequestedOutput",
    "parse_infer_request",
    "render_infer_response",
]

RAW_INPUT, ENCODED_INPUT = "image", "encoded_image"
OUTPUTS = ("probabilities", "uae_features", "bbsd_features", "activation_map")
# Parsed, JSON takes many times its size, and nothing else runs meanwhile; larger tensors travel as binary ones.
MAX_JSON_BYTES = 8 * 1024 * 1024
MAX_JSON_ARRAYS = 250_000
_DATATYPES = {RAW_INPUT: "UINT8", ENCODED_INPUT: "BYTES"}
_LONGEST_ID = 1000
_REFUSED_PARAMETERS = ("shared_memory_region", "classification")

_Object = Mapping[str, Any]


@dataclass(frozen=True)
class ModelInput:
    """What a request may hold.

    Attributes:
        width: Of a raw image, in pixels.
        height: Of a raw image, in pixels.
        max_images: In one request.
    """

    width: int
    height: int
    max_images: int


@dataclass(frozen=True)
class RequestedOutput:
    """One tensor of the answer."""

    name: str
    is_binary: bool


@dataclass(frozen=True)
class InferRequest:
    """What is asked.

    Attributes:
        contents: Of each image: its file, or the bytes of its pixels, uint8 [H, W, 3].
        is_raw: Whether they are pixels.
        request_id: To be given back; None: there was none.
    """

    contents: Sequence[bytes]
    is_raw: bool
    outputs: Sequence[RequestedOutput]
    request_id: str | None = None


def parse_infer_request(body: bytes, json_length: str | None, takes: ModelInput) -> InferRequest:
    """Read the body of ``/infer``.

    Args:
        body: JSON, and after it the binary tensors.
        json_length: The header ``Inference-Header-Content-Length``; None: the body is JSON alone.
        takes: Checked before anything is allocated for the tensors.

    Raises:
        MalformedBodyError: It is no JSON object, or sizes do not add up.
        InferRequestError: Other inputs or outputs than the model's.
        BodyTooLargeError: Too much JSON, or too many images.
    """
    size = len(body) if json_length is None else _parse_size(json_length, len(body))
    message = _load_object(body, size)
    tensor = _only_input(message)
    name = _text(tensor, "name")
    if _DATATYPES.get(name) != tensor.get("datatype"):
        choices = " or ".join(f"{kind} {known}" for known, kind in _DATATYPES.items())
        raise InferRequestError(
            f"the input {name[:100]!r} of datatype {str(tensor.get('datatype'))[:100]!r} is none of the model's",
            f"send {choices}",
        )
    shape = _check_shape(tensor, (takes.height, takes.width, 3) if name == RAW_INPUT else (), takes.max_images)
    is_raw = name == RAW_INPUT
    binary = _binary_part(tensor, memoryview(body)[size:])
    if binary is None:
        contents = pixels_of_json(tensor["data"], shape) if is_raw else files_of_json(tensor["data"], shape[0])
    else:
        contents = pixels_of_binary(binary, shape) if is_raw else files_of_binary(binary, shape[0])
    return InferRequest(contents, is_raw, _requested_outputs(message), _request_id(message))


def render_infer_response(
    request: InferRequest,
    model_name: str,
    version: int,
    prediction_ids: Sequence[str],
    tensors: Mapping[str, NDArray[np.float32]],
) -> tuple[bytes, int | None]:
    """The body of an answer.

    Args:
        request: That is answered.
        model_name: That answered.
        version: That answered.
        prediction_ids: Of each image.
        tensors: float32 [N, ...] by name; those that were asked for.

    Returns:
        The body, and how long its JSON is; None: it is JSON alone.
    """
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for output in request.outputs:
        tensor = np.ascontiguousarray(tensors[output.name], np.float32)
        described: dict[str, Any] = {"name": output.name, "datatype": "FP32", "shape": list(tensor.shape)}
        if output.is_binary:
            binary.append(tensor.astype("<f4").tobytes())
            described["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            described["data"] = tensor.ravel()
        outputs.append(described)
    message = {
        "model_name": model_name,
        "model_version": str(version),
        **({} if request.request_id is None else {"id": request.request_id}),
        "parameters": {"prediction_ids": list(prediction_ids)},
        "outputs": outputs,
    }
    head = orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([head, *binary]), len(head)) if binary else (head, None)


def _parse_size(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise MalformedBodyError(
            f"Inference-Header-Content-Length is {text[:100]!r}, the body has {most} bytes",
            "it is the length of the JSON that the body begins with",
        )
    return int(text)


def _load_object(body: bytes, size: int) -> _Object:
    if size > MAX_JSON_BYTES:
        raise BodyTooLargeError(
            f"the JSON part may have at most {MAX_JSON_BYTES} bytes, not {size}", "send large tensors as binary data"
        )
    if body.count(b"[", 0, size) + body.count(b"{", 0, size) > MAX_JSON_ARRAYS:
        raise BodyTooLargeError(
            f"the JSON part may have at most {MAX_JSON_ARRAYS} arrays and objects", "send the tensor's data flat"
        )
    try:
        message = orjson.loads(memoryview(body)[:size])
    except orjson.JSONDecodeError as error:
        raise MalformedBodyError(f"the body is no JSON: {error}") from error
    if not isinstance(message, dict):
        raise MalformedBodyError("the body is no JSON object")
    return message


def _only_input(message: _Object) -> _Object:
    inputs = message.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InferRequestError("'inputs' is no list of one tensor", f"send either {RAW_INPUT} or {ENCODED_INPUT}")
    return inputs[0]


def _text(holder: _Object, key: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str):
        raise InferRequestError(f"{key!r} is no text")
    return value


def _parameters(holder: _Object) -> _Object:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InferRequestError("'parameters' is no object")
    for name in _REFUSED_PARAMETERS:
        if name in parameters:
            raise InferRequestError(f"the parameter {name} is not served", "send and take tensors in the body")
    return parameters


def _check_shape(tensor: _Object, rest: tuple[int, ...], max_images: int) -> tuple[int, ...]:
    shape = tensor.get("shape")
    expected = f"[{', '.join(['N', *map(str, rest)])}]"
    if not isinstance(shape, list) or not shape or any(type(side) is not int for side in shape) or shape[0] < 1:
        raise InferRequestError(f"the shape is {str(shape)[:100]}, not {expected}")
    if tuple(shape[1:]) != rest:
        raise InferRequestError(f"the shape is {str(shape)[:100]}, not {expected}")
    if shape[0] > max_images:
        raise BodyTooLargeError(f"a request may have at most {max_images} images", "send it in parts")
    return tuple(shape)


def _binary_part(tensor: _Object, binary: memoryview) -> memoryview | None:
    """The bytes after the JSON; None where the tensor stands in the JSON."""
    size = _parameters(tensor).get("binary_data_size")
    if (size is None) == ("data" not in tensor):
        raise InferRequestError("the input has not one of 'data' and the parameter 'binary_data_size'")
    if len(binary) != (size or 0) or type(size) not in (int, type(None)):
        raise MalformedBodyError(
            f"{len(binary)} bytes follow the JSON, the input's 'binary_data_size' is {str(size)[:100]}",
            "the header Inference-Header-Content-Length says where they begin",
        )
    return None if size is None else binary


def _requested_outputs(message: _Object) -> list[RequestedOutput]:
    """Those asked for, or the probabilities; each as it is asked for, or as the whole answer is."""
    are_binary = _is_true(_parameters(message), "binary_data_output", default=False)
    outputs = message.get("outputs") or [{"name": OUTPUTS[0]}]
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise InferRequestError("'outputs' is no list of tensors")
    names = [_text(output, "name") for output in outputs]
    unknown = next((name for name in names if name not in OUTPUTS), None)
    if unknown is not None or len(set(names)) != len(names):
        what = "an output is asked for twice" if unknown is None else f"the model has no output {unknown[:100]!r}"
        raise InferRequestError(what, f"choose from {', '.join(OUTPUTS)}")
    flags = [_is_true(_parameters(output), "binary_data", default=are_binary) for output in outputs]
    return [RequestedOutput(name, is_binary) for name, is_binary in zip(names, flags, strict=True)]


def _is_true(parameters: _Object, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InferRequestError(f"the parameter {name} is neither true nor false")
    return value


def _request_id(message: _Object) -> str | None:
    value = message.get("id")
    if value is not None and not (isinstance(value, str) and len(value) <= _LONGEST_ID):
        raise InferRequestError(f"'id' is no text of at most {_LONGEST_ID} characters")
    return value
