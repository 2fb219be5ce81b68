"""POST /predict over HTTP against a real service: right answers, and right refusals."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import socket
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Row, select

from onsight.db import WindowQuery, open_database, read_window
from onsight.db.tables import ApiCallRow, PredictionRow
from tests.servers import pictures
from tests.servers.bundle import BundleStore
from tests.servers.dl_service import ServiceProcess, wait_until

ODD_BUT_GOOD = {
    "cmyk": pictures.encode(Image.fromarray(pictures.pixels()).convert("CMYK"), "JPEG"),
    "grey": pictures.encode(Image.fromarray(pictures.pixels()).convert("L"), "PNG"),
    "alpha": pictures.encode(Image.fromarray(pictures.pixels()).convert("RGBA"), "PNG"),
    "palette": pictures.encode(Image.fromarray(pictures.pixels()).convert("P"), "PNG"),
    "16-bit": pictures.encode(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000), "PNG"),
    "1x1": pictures.encode(Image.new("RGB", (1, 1), "red"), "PNG"),
    "animated-gif": pictures.animated_gif(),
    "webp": pictures.encode(Image.fromarray(pictures.pixels()), "WEBP"),
    "bmp": pictures.encode(Image.fromarray(pictures.pixels()), "BMP"),
    "tiff": pictures.encode(Image.fromarray(pictures.pixels()), "TIFF"),
}
REFUSED = {
    "empty": (b"", 422, "missing_file"),
    "text-renamed": (b"this is only text", 422, "unreadable_image"),
    "truncated": (pictures.jpeg()[:400], 422, "unreadable_image"),
    "header-only": (pictures.jpeg()[:20], 422, "unreadable_image"),
    "bomb": (pictures.bomb_png(), 413, "image_too_large"),
    "too-many-pixels": (pictures.encode(Image.new("L", (2100, 2100)), "PNG"), 413, "image_too_large"),
    "oversize-body": (b"x" * 200_001, 413, "body_too_large"),
    "pdf": (b"%PDF-1.7 ...", 415, "unsupported_image"),
    "icon": (pictures.encode(Image.new("RGB", (32, 32)), "ICO"), 415, "unsupported_image"),
}


def send(http: httpx.Client, content: bytes, path: str = "/predict") -> httpx.Response:
    return http.post(path, files={"file": ("image.jpg", content, "image/jpeg")})


@pytest.mark.parametrize("path", ["/predict", "/predict/"])
@pytest.mark.parametrize("raw", [False, True], ids=["form", "raw"])
def test_predict_answers_without_a_redirect(
    http: httpx.Client, bundle_store: BundleStore, path: str, raw: bool
) -> None:
    content = pictures.jpeg()

    response = http.post(path, content=content) if raw else send(http, content, path)

    assert response.status_code == 200, response.text
    answer = response.json()
    assert uuid.UUID(answer["prediction_id"]).version == 7
    assert f"{answer['model_name']}-v{answer['model_version']}" == bundle_store.first
    assert list(answer["prediction"]) == list(bundle_store.classes)
    assert sum(answer["prediction"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["prediction"][answer["top_class"]] == answer["confidence"] == max(answer["prediction"].values())
    assert answer["message"].startswith(answer["top_class"])


def test_predict_of_golden_images_gives_golden_outputs(http: httpx.Client, bundle_store: BundleStore) -> None:
    for image, expected in zip(*bundle_store.golden(), strict=True):
        answer = send(http, pictures.encode(Image.fromarray(image), "PNG")).json()

        np.testing.assert_allclose(list(answer["prediction"].values()), expected, atol=1e-4)


@pytest.mark.parametrize("content", ODD_BUT_GOOD.values(), ids=ODD_BUT_GOOD.keys())
def test_predict_of_an_odd_image_answers(http: httpx.Client, content: bytes) -> None:
    response = send(http, content)

    assert response.status_code == 200, response.text


@pytest.mark.parametrize("raw", [False, True], ids=["form", "raw"])
@pytest.mark.parametrize(("content", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_predict_of_a_hostile_body_is_refused_with_its_code(
    http: httpx.Client, content: bytes, status: int, code: str, raw: bool
) -> None:
    response = http.post("/predict", content=content) if raw else send(http, content)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"]


def test_predict_with_another_field_name_says_which_one_is_asked_for(http: httpx.Client) -> None:
    response = http.post("/predict", files={"image": ("a.jpg", pictures.jpeg(), "image/jpeg")})

    assert (response.status_code, response.json()["code"]) == (422, "missing_file")
    assert "'file'" in response.json()["detail"]


def test_predict_with_a_broken_form_is_a_bad_request(http: httpx.Client) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = http.post("/predict", content=b"--x\r\nno end", headers=headers)

    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")


def test_request_id_is_taken_over_when_it_is_a_sound_one(http: httpx.Client) -> None:
    assert http.get("/livez", headers={"X-Request-ID": "nginx-42"}).headers["x-request-id"] == "nginx-42"
    odd = http.get("/livez", headers={"X-Request-ID": "two words"}).headers["x-request-id"]
    assert len(odd) == 32


def test_body_without_a_declared_size_is_refused_while_it_streams(http: httpx.Client) -> None:
    response = http.post("/predict", content=(b"x" * 50_000 for _ in range(8)))

    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_client_that_goes_away_in_the_middle_harms_nobody(service: ServiceProcess, http: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as half:
        half.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")

    def is_logged() -> bool:
        return 'code="client_closed_request"' in http.get("/metrics").text

    wait_until(is_logged)
    assert send(http, pictures.jpeg()).is_success


def test_prediction_and_call_are_logged_with_what_the_monitor_needs(
    service: ServiceProcess, http: httpx.Client, bundle_store: BundleStore
) -> None:
    content = pictures.jpeg(seed=5)
    answer = http.post("/predict", content=content, headers={"X-Request-ID": "look-me-up"}).json()
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")

    def rows() -> list[Row[Any]]:
        with database.transaction() as connection:
            query = select(PredictionRow.__table__).where(PredictionRow.request_id == "look-me-up")
            return list(connection.execute(query))

    wait_until(lambda: bool(rows()))
    row = rows()[0]
    assert row.prediction_id == answer["prediction_id"]
    assert row.image_sha256 == hashlib.sha256(content).hexdigest()
    assert (row.image_width, row.image_height, row.image_format) == (90, 60, "JPEG")
    assert set(row.timings_ms) == {"receive", "queue", "decode", "inference"}
    with database.transaction() as connection:
        call = connection.execute(select(ApiCallRow).where(ApiCallRow.request_id == "look-me-up")).one()
    assert (call.route, call.method, call.status, call.code) == ("/predict", "POST", 200, "ok")
    window = read_window(database, WindowQuery(answer["model_name"], answer["model_version"], max_rows=1, kept_rows=1))
    assert window.uae_feats.shape == (1, bundle_store.uae_dims)
    np.testing.assert_allclose(window.probabilities[0], list(answer["prediction"].values()))
    database.close()


def test_metrics_count_predictions_and_stages(http: httpx.Client) -> None:
    send(http, pictures.jpeg())

    text = http.get("/metrics").text

    for name in (
        "onsight_predict_stage_seconds_bucket",
        "onsight_predict_top_class_total",
        "onsight_outbox_pending_bytes",
        "onsight_predict_batch_images_bucket",
        "onsight_model_served{",
        'onsight_http_requests_total{code="ok",method="POST",route="/predict",status="200"}',
    ):
        assert name in text


def test_overload_is_refused_with_retry_after_while_the_rest_is_served(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    service = make_service(
        ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_INFERENCE_THREADS="1", ONSIGHT_QUEUE_SIZE="2"
    )
    service.start()
    service.deploy(bundle_store.first)
    content = pictures.jpeg(width=1500, height=1200)

    async def burst() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=40)
        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60, limits=limits) as client:
            return await asyncio.gather(*[client.post("/predict", content=content) for _ in range(40)])

    answers = asyncio.run(burst())
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert {answer.json()["code"] for answer in refused} == {"overloaded"}
    assert all(answer.headers["retry-after"] for answer in refused)


def test_deadline_is_answered_as_such(bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]) -> None:
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_REQUEST_DEADLINE_S="0.001")
    service.start()
    service.deploy(bundle_store.first)

    answer = httpx.post(f"{service.url}/predict", content=pictures.jpeg(width=3000, height=2000), trust_env=False)

    assert (answer.status_code, answer.json()["code"]) == (503, "deadline_exceeded")


@pytest.mark.parametrize(("explain", "raw", "overlaid"), [("heatmap", 1, 0), ("overlay", 0, 1), ("both", 1, 1)])
def test_predict_explains_when_asked(http: httpx.Client, explain: str, raw: int, overlaid: int) -> None:
    answer = http.post(f"/predict?explain={explain}&explain_format=png", content=pictures.jpeg(width=50, height=40))

    found = answer.json()
    assert answer.status_code == 200, answer.text
    assert (found["raw_hm_img"] is not None, found["overlaid_img"] is not None) == (raw, overlaid)
    assert (found["explain_class"], found["why_not"]) == (found["top_class"], "")
    for name in ("raw_hm_img", "overlaid_img"):
        if found[name]:
            assert Image.open(io.BytesIO(base64.b64decode(found[name]))).size == (50, 40)


@pytest.mark.parametrize("query", ["explain=all", "explain=both&explain_class=none", "explain_class=x"])
def test_predict_with_a_wrong_explanation_is_refused(http: httpx.Client, query: str) -> None:
    answer = http.post(f"/predict?{query}", content=pictures.jpeg())

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_explain")


def test_predict_batch_answers_each_and_names_the_bad_ones(http: httpx.Client) -> None:
    files = [("file", (f"{n}.jpg", pictures.jpeg(n))) for n in range(5)]
    files.insert(2, ("file", ("notes.jpg", b"no image")))

    answer = http.post("/predict/batch", files=files)

    items = answer.json()["items"]
    assert answer.json()["n_failed"] == 1
    assert [item["file_name"] for item in items] == [name for _, (name, _) in files]
    assert items[2]["problem"]["code"] == "unreadable_image"
    for n, item in enumerate(item for item in items if item["problem"] is None):
        alone = http.post("/predict", content=pictures.jpeg(n)).json()
        assert item["prediction"]["prediction"] == pytest.approx(alone["prediction"], abs=1e-6)


def test_predict_batch_of_no_form_is_refused(http: httpx.Client) -> None:
    answer = http.post("/predict/batch", content=pictures.jpeg())

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


def test_prediction_can_be_looked_up_with_its_image_and_evidence(http: httpx.Client) -> None:
    content = pictures.jpeg(3, width=64, height=48)
    given = http.post("/predict", content=content).json()
    url = f"/predictions/{given['prediction_id']}"

    assert http.get(url).json()["prediction"] == given["prediction"]
    image, heat_map = http.get(f"{url}/image"), http.get(f"{url}/heatmap?kind=overlay")
    assert (image.content, image.headers["content-type"]) == (content, "image/jpeg")
    assert Image.open(io.BytesIO(heat_map.content)).size == (64, 48)
    assert http.get("/predictions/019a8f2e-6c1b-7a40-8d2f-3b9e6f1c2d47").status_code == 404
