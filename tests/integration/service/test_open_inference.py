"""The Open Inference Protocol against a real service: with plain HTTP, and with Triton's own client."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from onsight.db import open_database
from onsight.db.tables import ApiCallRow, PredictionRow
from tests.servers import pictures
from tests.servers.bundle import CLASSES, SIZE, UAE_DIMS, BundleStore
from tests.servers.dl_service import ServiceProcess, wait_until

INFER = "/v2/models/cells/infer"
JSON_LENGTH = "Inference-Header-Content-Length"
OUTPUTS = ("probabilities", "uae_features", "bbsd_features", "activation_map")
PNG = pictures.encode(Image.fromarray(pictures.pixels()), "PNG")

Images = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def protocol() -> Any:
    """Triton's own client library."""
    import tritonclient.http

    return tritonclient.http


@pytest.fixture
def triton(service: ServiceProcess, protocol: Any) -> Iterator[Any]:
    """A client of it."""
    with protocol.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        yield client


def raw_images(count: int = 3) -> Images:
    return np.stack([pictures.pixels(seed, SIZE, SIZE) for seed in range(count)])


def raw_input(images: Images, **changes: Any) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(images.shape), "data": images.ravel().tolist()}
    return {**tensor, **changes}


def file_input(*contents: bytes) -> dict[str, Any]:
    texts = [base64.b64encode(content).decode() for content in contents]
    return {"name": "encoded_image", "datatype": "BYTES", "shape": [len(texts)], "data": texts}


def of_predict(http: httpx.Client, content: bytes) -> list[float]:
    return list(http.post("/predict", content=content).raise_for_status().json()["prediction"].values())


def as_png(image: Images) -> bytes:
    return pictures.encode(Image.fromarray(image), "PNG")


def test_server_and_model_say_what_they_are(http: httpx.Client) -> None:
    assert http.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/cells", "/v2/models/cells/versions/1"):
        assert http.get(f"{path}/ready").json() == {"name": "cells", "ready": True}
        metadata = http.get(path).json()
        assert (metadata["name"], metadata["versions"]) == ("cells", ["1"])
        assert metadata["parameters"]["classes"] == list(CLASSES)
        assert {one["name"]: (one["datatype"], one["shape"]) for one in metadata["inputs"]} == {
            "image": ("UINT8", [-1, SIZE, SIZE, 3]),
            "encoded_image": ("BYTES", [-1]),
        }
        assert {one["name"]: one["shape"] for one in metadata["outputs"]} == {
            "probabilities": [-1, len(CLASSES)],
            "uae_features": [-1, UAE_DIMS],
            "bbsd_features": [-1, len(CLASSES)],
            "activation_map": [-1, -1, -1],
        }


def test_health_without_a_model_is_not_ready(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url)
    service.start()

    with httpx.Client(base_url=service.url, trust_env=False) as http:
        assert http.get("/v2/health/live").status_code == 200
        for answer in (http.get("/v2/health/ready"), http.get("/v2/models/cells"), http.post(INFER, content=b"{}")):
            assert (answer.status_code, answer.json()["code"]) == (503, "no_model")
            assert answer.headers["retry-after"]


def test_infer_of_pixels_answers_as_predict_does(http: httpx.Client) -> None:
    images = raw_images()

    answer = http.post(INFER, json={"id": "mine", "inputs": [raw_input(images)]})

    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["id"], found["model_name"], found["model_version"]) == ("mine", "cells", "1")
    (output,) = found["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [3, len(CLASSES)])
    expected = [of_predict(http, as_png(image)) for image in images]
    np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), expected, atol=1e-6)


def test_infer_of_files_answers_as_predict_does(http: httpx.Client) -> None:
    contents = [pictures.jpeg(1), PNG]

    answer = http.post(INFER, json={"inputs": [file_input(*contents)]})

    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    expected = [of_predict(http, content) for content in contents]
    np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), expected, atol=1e-6)


def test_infer_gives_binary_tensors_when_asked(http: httpx.Client) -> None:
    images = raw_images()
    size = {"binary_data_size": images.nbytes}
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(images.shape), "parameters": size}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()

    answer = http.post(INFER, content=head + images.tobytes(), headers={JSON_LENGTH: str(len(head))})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    length = int(answer.headers[JSON_LENGTH])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": len(answer.content) - length}
    probabilities = np.frombuffer(answer.content[length:], "<f4").reshape(output["shape"])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_every_image_is_logged_as_a_prediction_of_one_call(service: ServiceProcess, http: httpx.Client) -> None:
    images = raw_images()
    headers = {"X-Request-ID": "infer-log"}
    ids = http.post(INFER, json={"inputs": [raw_input(images)]}, headers=headers).json()["parameters"]["prediction_ids"]
    (file_id,) = http.post(INFER, json={"inputs": [file_input(PNG)]}).json()["parameters"]["prediction_ids"]
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")

    def rows() -> dict[str, Any]:
        with database.transaction() as connection:
            query = select(PredictionRow.__table__).where(PredictionRow.prediction_id.in_([*ids, file_id]))
            return {row.prediction_id: row for row in connection.execute(query)}

    wait_until(lambda: len(rows()) == len(ids) + 1)
    found = rows()
    for prediction_id, image in zip(ids, images, strict=True):
        row = found[prediction_id]
        assert (row.image_sha256, row.request_id) == (hashlib.sha256(image.tobytes()).hexdigest(), "infer-log")
        assert (row.image_width, row.image_height, row.image_format) == (SIZE, SIZE, "RAW")
    assert (found[file_id].image_sha256, found[file_id].image_format) == (hashlib.sha256(PNG).hexdigest(), "PNG")
    with database.transaction() as connection:
        calls = connection.execute(select(ApiCallRow).where(ApiCallRow.request_id == "infer-log")).all()
    assert [(call.route, call.status, call.code) for call in calls] == [("/v2/models/{name}/infer", 200, "ok")]
    database.close()
    assert http.get(f"/predictions/{file_id}/image").content == PNG
    assert http.get(f"/predictions/{ids[0]}/image").json()["code"] == "image_not_kept"


def test_more_images_than_the_queue_holds_are_answered(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_QUEUE_SIZE="2")
    service.start()
    service.deploy(bundle_store.first)

    answer = httpx.post(f"{service.url}{INFER}", json={"inputs": [raw_input(raw_images(9))]}, trust_env=False)

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["parameters"]["prediction_ids"]) == 9


GOOD = {"inputs": [file_input(pictures.jpeg())]}
REFUSED = {
    "no-json": (b"no json", 400, "malformed_body"),
    "empty": (b"", 400, "malformed_body"),
    "huge-shape": ({"inputs": [raw_input(raw_images(1), shape=[2**62, SIZE, SIZE, 3])]}, 413, "body_too_large"),
    "other-size": ({"inputs": [raw_input(raw_images(1), shape=[1, 8, 8, 3])]}, 422, "invalid_inference_request"),
    "floats": ({"inputs": [raw_input(raw_images(1), datatype="FP32")]}, 422, "invalid_inference_request"),
    "no-such-output": ({**GOOD, "outputs": [{"name": "logits"}]}, 422, "invalid_inference_request"),
    "too-many-files": ({"inputs": [file_input(*[b"x"] * 257)]}, 413, "body_too_large"),
    "text": ({"inputs": [file_input(b"only text")]}, 422, "unreadable_image"),
    "no-bytes": ({"inputs": [file_input(b"")]}, 422, "unreadable_image"),
    "truncated": ({"inputs": [file_input(pictures.jpeg(), pictures.jpeg()[:400])]}, 422, "unreadable_image"),
    "bomb": ({"inputs": [file_input(pictures.bomb_png())]}, 413, "image_too_large"),
    "large-file": ({"inputs": [file_input(PNG + bytes(200_000))]}, 413, "image_too_large"),
    "pdf": ({"inputs": [file_input(b"%PDF-1.7 ...")]}, 415, "unsupported_image"),
}


@pytest.mark.parametrize(("body", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_infer_of_a_hostile_body_is_refused_in_the_protocols_form(
    http: httpx.Client, body: bytes | dict[str, Any], status: int, code: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    answer = http.post(INFER, content=content)

    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error", "code", "request_id"}
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_infer_names_the_image_that_spoils_the_request(http: httpx.Client) -> None:
    answer = http.post(INFER, json={"inputs": [file_input(PNG, b"only text", PNG)]})

    assert answer.json()["error"].startswith("image 1: ")


def test_infer_of_a_compressed_body_is_refused(http: httpx.Client) -> None:
    answer = http.post(INFER, content=gzip.compress(json.dumps(GOOD).encode()), headers={"Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")


def test_infer_of_a_body_over_the_limit_is_refused_while_it_streams(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_MAX_BATCH_BODY_BYTES="5000")
    service.start()
    service.deploy(bundle_store.first)

    answer = httpx.post(f"{service.url}{INFER}", content=(b" " * 1000 for _ in range(8)), trust_env=False)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "path", ["models/other", "models/cells-v1", "models/cells/versions/2", "models/cells/versions/x"]
)
def test_model_that_is_not_served_is_unknown(http: httpx.Client, path: str) -> None:
    for answer in (
        http.get(f"/v2/{path}"),
        http.get(f"/v2/{path}/ready"),
        http.post(f"/v2/{path}/infer", json=GOOD),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
        assert answer.headers["content-type"] == "application/json"


def test_route_that_is_none_is_answered_in_the_protocols_form(http: httpx.Client) -> None:
    assert http.get("/v2/models/cells/config").json()["code"] == "not_found"
    assert http.get(INFER).json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_triton_client_gets_every_output_of_pixels(
    triton: Any, protocol: Any, http: httpx.Client, binary: bool
) -> None:
    images = raw_images()
    tensor = protocol.InferInput("image", images.shape, "UINT8").set_data_from_numpy(images, binary_data=binary)
    outputs = [protocol.InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]

    answer = triton.infer("cells", [tensor], "1", outputs, request_id="t-1")

    found = {name: answer.as_numpy(name) for name in OUTPUTS}
    np.testing.assert_allclose(found["probabilities"], [of_predict(http, as_png(one)) for one in images], atol=1e-6)
    assert found["uae_features"].shape == (3, UAE_DIMS)
    np.testing.assert_array_equal(found["bbsd_features"], found["probabilities"])
    assert found["activation_map"].ndim == 3
    np.testing.assert_allclose(found["activation_map"].max(axis=(1, 2)), 1, atol=1e-5)
    described = answer.get_response()
    assert described["id"] == "t-1"
    assert len(set(described["parameters"]["prediction_ids"])) == 3


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_triton_client_sends_files(triton: Any, protocol: Any, http: httpx.Client, binary: bool) -> None:
    contents = [pictures.jpeg(1), PNG]
    sent = contents if binary else [base64.b64encode(content) for content in contents]
    files = np.array(sent, dtype=np.object_)
    tensor = protocol.InferInput("encoded_image", files.shape, "BYTES").set_data_from_numpy(files, binary_data=binary)

    answer = triton.infer("cells", [tensor])

    expected = [of_predict(http, content) for content in contents]
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, atol=1e-6)


def test_triton_client_asks_for_health_and_metadata(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("cells")
    assert triton.is_model_ready("cells", "1")
    assert not triton.is_model_ready("cells", "2")
    assert triton.get_server_metadata()["name"] == "onsight"
    assert triton.get_model_metadata("cells")["versions"] == ["1"]


def test_triton_client_shows_why_a_request_is_refused(triton: Any, protocol: Any) -> None:
    files = np.array([b"only text"], dtype=np.object_)
    tensor = protocol.InferInput("encoded_image", files.shape, "BYTES").set_data_from_numpy(files)

    with pytest.raises(Exception, match=r"\[422\] image 0: not an image"):
        triton.infer("cells", [tensor])
    with pytest.raises(Exception, match="Content-Encoding gzip"):
        triton.infer("cells", [tensor], request_compression_algorithm="gzip")
    with pytest.raises(Exception, match="the service has no model 'other'"):
        triton.infer("other", [tensor])
