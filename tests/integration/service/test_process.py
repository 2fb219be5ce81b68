"""The service as a process: how it starts, refuses to start, and what it leaves unloaded."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.servers import pictures
from tests.servers.dl_service import ServiceProcess


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_import_loads_no_training_or_orchestration_framework() -> None:
    code = (
        "import sys, services.dl_service.app, onsight.deployment\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'prefect', 'mlflow', 'alibi_detect', 'deepchecks', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    assert run("-c", code).stdout.strip() == "[]"


def test_start_when_the_port_is_taken_says_so_and_exits_with_the_dependency_code() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = run("-m", "services.dl_service", DL_SERVICE_PORT=port)

    assert done.returncode == 6
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "DL_SERVICE_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_start_on_an_open_address_asks_for_keys(make_service: Callable[..., ServiceProcess]) -> None:
    service = make_service(DL_SERVICE_HOST="0.0.0.0")
    service.start()

    answer = httpx.post(f"{service.url}/predict", content=pictures.jpeg(), trust_env=False)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_start_with_a_wrong_setting_names_it() -> None:
    done = run("-m", "services.dl_service", ONSIGHT_QUEUE_SIZE="many")

    assert done.returncode == 2
    assert "queue_size" in done.stderr


def test_without_a_model_it_lives_is_not_ready_and_says_why(make_service: Callable[..., ServiceProcess]) -> None:
    service = make_service()
    service.start()

    with httpx.Client(base_url=service.url, trust_env=False) as http:
        assert http.get("/livez").json()["service"] == "dl_service"
        for method, path in (("GET", "/readyz"), ("GET", "/health_check"), ("POST", "/predict")):
            answer = http.request(method, path, content=b"x" if method == "POST" else None)
            assert (answer.status_code, answer.json()["code"]) == (503, "no_model"), path
            assert answer.headers["retry-after"]
        current = http.get("/models/current").json()
    assert current["serving"] is current["desired"] is None
    service.stop()
    assert service.log_lines()[-2]["message"] == "Application shutdown complete."


def test_documentation_pages_are_off_and_openapi_has_examples(make_service: Callable[..., ServiceProcess]) -> None:
    service = make_service()
    service.start()

    with httpx.Client(base_url=service.url, trust_env=False) as http:
        assert http.get("/docs").status_code == http.get("/redoc").status_code == 404
        document = http.get("/openapi.json").json()
    predict = document["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {"multipart/form-data", "image/*"}
    assert document["components"]["schemas"]["PredictResponse"]["examples"]
    assert "ProblemDocument" in document["components"]["schemas"]
    assert "503" in predict["responses"]


def test_metrics_of_several_processes_are_summed(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    services = [make_service(PROMETHEUS_MULTIPROC_DIR=str(folder)) for _ in range(2)]
    for service in services:
        service.start()
        httpx.get(f"{service.url}/readyz", trust_env=False)

    text = httpx.get(f"{services[0].url}/metrics", trust_env=False).text

    line = 'onsight_http_requests_total{code="no_model",method="GET",route="/readyz",status="503"} 2.0'
    assert line in text.splitlines()
