"""API keys over HTTP: who is let in, what a key may do, and how soon a revoked one stops to work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest
from pydantic import SecretStr

from onsight.db import Database, Scope, create_api_key, open_database, revoke_api_key
from onsight.deployment import DeployClient
from onsight.errors import ConfigError
from tests.servers import pictures
from tests.servers.bundle import BundleStore
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.postgres import PostgresServer

CLOSED: list[tuple[str, str, Scope]] = [
    ("POST", "/predict", "predict"),
    ("POST", "/predict/", "predict"),
    ("GET", "/models/current", "predict"),
    ("PUT", "/update_model/none-v1.yaml", "admin"),
    ("POST", "/rollback", "admin"),
    ("GET", "/no/such/route", "admin"),
]


@pytest.fixture(scope="module")
def guarded(bundle_store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service on SQLite that asks for keys, and serves the store's first bundle."""
    running = ServiceProcess(
        tmp_path_factory.mktemp("guarded"),
        ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url,
        ONSIGHT_REQUIRE_API_KEYS="true",
    )
    running.start()
    database = open_database(f"sqlite:///{running.state_dir}/predictions.db")
    text, _ = create_api_key(database, "deploy", ["admin"])
    database.close()
    wait_until(lambda: ask(running, "GET", "/models/current", text).is_success)
    with DeployClient(running.url, api_key=SecretStr(text)) as client:
        client.update_model(bundle_store.first)
    yield running
    running.kill()


@pytest.fixture
def database(guarded: ServiceProcess) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{guarded.state_dir}/predictions.db")
    yield opened
    opened.close()


def ask(service: ServiceProcess, method: str, path: str, key: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    content = pictures.jpeg() if method == "POST" else None
    return httpx.request(method, f"{service.url}{path}", content=content, headers=headers, trust_env=False, timeout=30)


def answered(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, "ok" if response.is_success else str(response.json()["code"])


@pytest.mark.parametrize(("method", "path", "scope"), CLOSED)
def test_without_a_valid_key_every_closed_route_refuses(
    guarded: ServiceProcess, method: str, path: str, scope: Scope
) -> None:
    for key in ("", "wrong", "onsight_000000000000_x"):
        response = ask(guarded, method, path, key)

        assert answered(response) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["x-request-id"] == response.json()["request_id"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health_check", "/metrics"])
def test_probes_stay_open(guarded: ServiceProcess, path: str) -> None:
    assert ask(guarded, "GET", path).status_code == 200


def test_key_may_do_what_its_scope_says(guarded: ServiceProcess, database: Database) -> None:
    text, _ = create_api_key(database, "line-3", ["predict"])
    wait_until(lambda: ask(guarded, "POST", "/predict", text).is_success)

    by_header = httpx.post(
        f"{guarded.url}/predict", content=pictures.jpeg(), headers={"X-API-Key": text}, trust_env=False, timeout=30
    )

    assert by_header.status_code == 200
    assert answered(ask(guarded, "GET", "/models/current", text)) == (200, "ok")
    assert answered(ask(guarded, "PUT", "/update_model/none-v1.yaml", text)) == (403, "forbidden_scope")
    assert answered(ask(guarded, "POST", "/rollback", text)) == (403, "forbidden_scope")


@pytest.mark.parametrize("request_id", ["golden-1", "GOLDEN-1"])
def test_only_an_admin_key_may_mark_a_request_as_golden(
    guarded: ServiceProcess, database: Database, request_id: str
) -> None:
    keys = {scope: create_api_key(database, f"golden-{scope}", [scope])[0] for scope in ("predict", "admin")}

    def answered_id(key: str, wanted: str) -> str:
        headers = {"X-API-Key": key, "X-Request-ID": wanted}
        response = httpx.post(
            f"{guarded.url}/predict", content=pictures.jpeg(), headers=headers, trust_env=False, timeout=30
        )
        return str(response.headers["x-request-id"])

    for key in keys.values():
        wait_until(lambda key=key: ask(guarded, "POST", "/predict", key).is_success)  # type: ignore[misc]

    assert answered_id(keys["admin"], request_id) == request_id
    for key in (keys["predict"], "wrong"):
        assert not answered_id(key, request_id).lower().startswith("golden")
    assert answered_id(keys["predict"], "goldenrod-1") == "goldenrod-1"


def test_service_that_is_open_to_its_machine_answers_to_no_other_name(
    guarded: ServiceProcess, make_service: Callable[..., ServiceProcess]
) -> None:
    local, opened = make_service(), make_service(ONSIGHT_ALLOW_OPEN="true")

    def answer_to(service: ServiceProcess, host: str) -> tuple[int, str]:
        headers = {"Host": host, "Origin": f"http://{host}", "X-Request-ID": "golden-1"}
        response = httpx.post(f"{service.url}/rollback", headers=headers, trust_env=False, timeout=30)
        assert response.headers["x-request-id"] == "golden-1" or service is guarded
        return answered(response)

    for service in (local, opened):
        service.start()

    assert answer_to(local, f"evil.example:{local.port}") == (421, "unknown_host")
    assert answer_to(local, f"localhost:{local.port}") == (409, "nothing_to_roll_back")
    assert answer_to(opened, f"evil.example:{opened.port}") == (409, "nothing_to_roll_back")
    assert answer_to(guarded, f"evil.example:{guarded.port}") == (401, "unauthorized")


def test_revoked_key_stops_to_work_within_seconds(guarded: ServiceProcess, database: Database) -> None:
    text, key = create_api_key(database, "line-4", ["predict"])
    wait_until(lambda: ask(guarded, "POST", "/predict", text).is_success)

    revoke_api_key(database, key.key_id)

    wait_until(lambda: ask(guarded, "POST", "/predict", text).status_code == 401, timeout_s=5)


def test_deploy_client_with_a_key_that_may_not_says_what_to_set(
    guarded: ServiceProcess, bundle_store: BundleStore
) -> None:
    with DeployClient(guarded.url) as client:
        assert client.livez() is not None
        for call in (client.serving, lambda: client.update_model(bundle_store.first)):
            with pytest.raises(ConfigError, match="ONSIGHT_SERVICE_API_KEY"):
                call()


def test_restart_while_postgres_is_down_still_knows_the_keys(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess], stoppable_postgres: PostgresServer
) -> None:
    url = stoppable_postgres.create_database()
    command = [sys.executable, "-m", "services.dl_service.keys", "create", "--name", "a", "--scope", "predict"]
    environment = {**os.environ, "ONSIGHT_DATABASE_URL": url}
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    service = make_service(ONSIGHT_DATABASE_URL=url, ONSIGHT_REQUIRE_API_KEYS="true")
    service.start()
    assert ask(service, "GET", "/models/current", made.stdout.strip()).status_code == 200
    service.kill()
    stoppable_postgres.stop()

    service.start()

    assert ask(service, "GET", "/models/current", made.stdout.strip()).status_code == 200
    assert ask(service, "GET", "/models/current", "wrong").status_code == 401


def test_open_address_asks_for_keys_unless_told_otherwise(make_service: Callable[..., ServiceProcess]) -> None:
    closed = make_service(DL_SERVICE_HOST="0.0.0.0")
    opened = make_service(DL_SERVICE_HOST="0.0.0.0", ONSIGHT_ALLOW_OPEN="true")
    local = make_service()
    for service in (closed, opened, local):
        service.start()

    assert [ask(service, "GET", "/models/current").status_code for service in (closed, opened, local)] == [
        401,
        200,
        200,
    ]
    for service in (opened, local):
        assert any("stands open" in line["message"] for line in service.log_lines())
