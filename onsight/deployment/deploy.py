"""One deployment, whole: the service runs, takes the bundle, serves it, and answers its golden images rightly."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from onsight.bundle import Bundle
from onsight.config import DeployConfig
from onsight.deployment.client import DeployClient, GoldenCheck
from onsight.deployment.local import LocalService, start_local_service
from onsight.errors import DependencyError
from onsight.settings import Settings

__all__ = ["DeployOutcome", "DeployRequest", "deploy_bundle"]

_HTTP_PORT = 80


@dataclass(frozen=True)
class DeployRequest:
    """What to deploy, and why.

    Attributes:
        reason: Kept in the service's log of desired versions.
    """

    bundle: Bundle
    config: DeployConfig
    reason: str = ""


@dataclass(frozen=True)
class DeployOutcome:
    """What a deployment did.

    Attributes:
        previous: The bundle served before, or None.
        local_service: The process of this machine, where the service is one.
    """

    service_url: str
    bundle_name: str
    previous: str | None
    golden: GoldenCheck
    local_service: LocalService | None
    seconds: float


def deploy_bundle(request: DeployRequest, settings: Settings) -> DeployOutcome:
    """Brings a published bundle into service.

    Raises:
        DependencyError: The service does not answer, does not come to serve the bundle in time, or answers its
            golden images wrongly.
        BundleError: The service refuses the bundle; it serves what it served before.
        ConfigError: The service asks for an API key, and the one set is not right.
    """
    started_s = time.monotonic()
    config = request.config
    url = str(config.service_url or settings.service_url).rstrip("/")
    metadata = request.bundle.metadata
    name = metadata.bundle_name
    local_service = _ensure_service(url, config, settings)
    with DeployClient(url, settings.request_timeout_s, config.timeout_s, settings.service_api_key) as client:
        update = client.update_model(name, request.reason)
        client.wait_until_served(name, config.timeout_s)
        golden = (request.bundle.golden, *request.bundle.other_golden)
        answers = np.stack([variant.probabilities for variant in golden])
        check = client.check_golden(name, (golden[0].images, answers), metadata.classes, config.golden_tolerance)
    previous = update.get("previous")
    return DeployOutcome(
        url, name, str(previous) if previous else None, check, local_service, time.monotonic() - started_s
    )


def _ensure_service(url: str, config: DeployConfig, settings: Settings) -> LocalService | None:
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or _HTTP_PORT
    if config.start_local_service and address.scheme == "http" and _is_loopback(host):
        return start_local_service(settings, host, port)
    with DeployClient(url, settings.request_timeout_s) as client:
        if client.livez() is None:
            raise DependencyError(
                f"dl_service at {url} does not answer",
                "start it (`python -m services.dl_service`), or set deploy.service_url",
            )
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
