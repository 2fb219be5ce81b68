"""Posting an alert to a real server: tried again when that may help, and the address kept secret."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from onsight.errors import ConfigError, DependencyError
from onsight.monitoring import Webhook
from tests.servers.dl_service import free_port
from tests.servers.webhook import WebhookServer


def hook(url: str) -> Webhook:
    return Webhook(SecretStr(url), timeout_s=5, pause_s=0.01)


@pytest.mark.parametrize("statuses", [[], [503], [500, 502]], ids=["at once", "once more", "twice more"])
def test_post_when_the_server_recovers_then_the_alert_arrives_once(
    webhook_server: WebhookServer, statuses: list[int]
) -> None:
    webhook_server.statuses = statuses.copy()

    hook(webhook_server.url).post({"alert": "DriftConfirmed"})

    assert webhook_server.posts == [{"alert": "DriftConfirmed"}]
    assert webhook_server.asked == len(statuses) + 1


@pytest.mark.parametrize(
    ("status", "kind", "asked"), [(404, ConfigError, 1), (503, DependencyError, 3)], ids=["refused", "down"]
)
def test_post_when_the_server_says_no_then_raises_without_the_address(
    webhook_server: WebhookServer, status: int, kind: type[Exception], asked: int
) -> None:
    webhook_server.statuses = [status] * 3

    with pytest.raises(kind, match=str(status)) as caught:
        hook(webhook_server.url).post({})

    assert "secret" not in str(caught.value)
    assert webhook_server.asked == asked


@pytest.mark.parametrize("url", ["ftp://chat.example/hook", "no address"])
def test_post_when_the_address_is_none_then_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no http address"):
        hook(url).post({})


def test_post_when_nobody_listens_then_raises_dependency_error() -> None:
    with pytest.raises(DependencyError, match="ConnectError"):
        hook(f"http://127.0.0.1:{free_port()}").post({})
