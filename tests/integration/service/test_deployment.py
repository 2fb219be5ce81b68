"""Deploying to a local service: started if nothing answers, told apart from strangers, checked, and stopped."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from onsight.bundle import load_bundle
from onsight.config import DeployConfig
from onsight.deployment import DeployClient, DeployRequest, deploy_bundle, start_local_service, stop_local_service
from onsight.deployment.__main__ import main
from onsight.errors import BundleError, DependencyError
from onsight.settings import Settings
from onsight.storage import open_store
from tests.servers.bundle import BundleStore
from tests.servers.dl_service import ServiceProcess, free_port


@pytest.fixture
def settings(tmp_path: Path, bundle_store: BundleStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name in list(os.environ):
        if name.startswith(("ONSIGHT_", "DL_SERVICE_")):
            monkeypatch.delenv(name)
    made = Settings(state_dir=tmp_path / "state", central_storage_url=bundle_store.url)
    yield made
    stop_local_service(made)


@pytest.fixture
def stranger() -> Iterator[str]:
    """The URL of a server that is not dl_service."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def request_for(settings: Settings, name: str, tmp_path: Path, port: int) -> DeployRequest:
    bundle = load_bundle(open_store(settings), name, tmp_path / "cache")
    return DeployRequest(bundle, DeployConfig(service_url=f"http://127.0.0.1:{port}"), reason="in a test")


def test_deploy_bundle_starts_the_service_and_checks_the_golden_answers(
    settings: Settings, bundle_store: BundleStore, tmp_path: Path
) -> None:
    port = free_port()

    first = deploy_bundle(request_for(settings, bundle_store.first, tmp_path, port), settings)
    second = deploy_bundle(request_for(settings, bundle_store.second, tmp_path, port), settings)

    assert first.local_service is not None
    assert second.local_service is not None
    assert (first.local_service.started, second.local_service.started) == (True, False)
    assert "make stop" in first.local_service.message
    assert (first.previous, second.previous) == (None, bundle_store.first)
    assert 0 <= first.golden.max_difference < 1e-3
    assert first.golden.n_images > 0
    with DeployClient(second.service_url) as client:
        assert client.serving() == bundle_store.second
    assert "stopped dl_service" in stop_local_service(settings)
    assert stop_local_service(settings) == "no local dl_service runs"


def test_deploy_bundle_when_the_answers_are_off_says_how_far(
    settings: Settings, bundle_store: BundleStore, tmp_path: Path
) -> None:
    request = request_for(settings, bundle_store.first, tmp_path, free_port())
    golden = request.bundle.golden
    images, probabilities = golden.images, golden.probabilities[np.newaxis, :, ::-1]
    start_local_service(settings, "127.0.0.1", request.config.service_url.port or 0)

    with DeployClient(str(request.config.service_url)) as client:
        client.update_model(bundle_store.first)
        with pytest.raises(DependencyError, match="off; 0.02 is allowed"):
            client.check_golden(bundle_store.first, (images, probabilities), bundle_store.classes, 0.02)
        with pytest.raises(DependencyError, match="not with"):
            client.check_golden(bundle_store.second, (images, probabilities), bundle_store.classes, 0.02)
        with pytest.raises(DependencyError, match=f"serves {bundle_store.first} and not {bundle_store.second}"):
            client.wait_until_served(bundle_store.second, 0.2)


def test_deploy_bundle_that_the_service_refuses_is_a_bundle_error(
    service: ServiceProcess, bundle_store: BundleStore
) -> None:
    with DeployClient(service.url) as client:
        with pytest.raises(BundleError, match=r"did not take never-v9.*unknown_model"):
            client.update_model("never-v9")
        assert client.serving() == bundle_store.first


def test_deploy_bundle_to_a_service_elsewhere_that_is_down_says_so(
    settings: Settings, bundle_store: BundleStore, tmp_path: Path
) -> None:
    request = request_for(settings, bundle_store.first, tmp_path, free_port())
    config = request.config.model_copy(update={"start_local_service": False})

    with pytest.raises(DependencyError, match="does not answer"):
        deploy_bundle(replace(request, config=config), settings)


def test_start_when_a_stranger_has_the_port_is_refused(settings: Settings, stranger: str) -> None:
    with pytest.raises(DependencyError, match="is not dl_service"):
        start_local_service(settings, "127.0.0.1", int(stranger.rpartition(":")[2]))


def test_start_when_something_that_is_no_http_server_has_the_port_is_refused(tmp_path: Path) -> None:
    impatient = Settings(state_dir=tmp_path, request_timeout_s=0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(DependencyError, match="is not dl_service"):
            start_local_service(impatient, "127.0.0.1", mute.getsockname()[1])


def test_start_when_a_service_of_another_place_answers_is_refused(settings: Settings, service: ServiceProcess) -> None:
    with pytest.raises(DependencyError, match="another central storage"):
        start_local_service(settings, "127.0.0.1", service.port)


def test_start_of_a_service_that_ends_at_once_shows_the_end_of_its_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONSIGHT_QUEUE_SIZE", "many")

    with pytest.raises(DependencyError, match="queue_size"):
        start_local_service(settings, "127.0.0.1", free_port())

    assert not (settings.state_dir / "dl_service.pid").exists()


def test_stop_leaves_a_process_alone_that_only_has_the_number(settings: Settings) -> None:
    path = settings.state_dir / "dl_service.pid"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": os.getpid(), "created_s": 1.0, "url": "http://x"}))

    assert stop_local_service(settings) == "no local dl_service runs"

    assert psutil.pid_exists(os.getpid())
    assert not path.exists()


def test_started_service_outlives_a_signal_to_our_group(settings: Settings) -> None:
    local = start_local_service(settings, "127.0.0.1", free_port())

    assert os.getsid(local.pid) == local.pid
    assert httpx.get(f"{local.url}/livez", trust_env=False).is_success


def test_stop_command_ends_the_service_and_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONSIGHT_STATE_DIR", str(settings.state_dir))
    local = start_local_service(settings, "127.0.0.1", free_port())

    assert main(["stop"]) == 0

    assert f"pid {local.pid}" in capsys.readouterr().out
    assert not psutil.pid_exists(local.pid)
