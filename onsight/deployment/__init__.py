"""Bringing a published bundle into service: the HTTP client of dl_service, and a local service process."""

from onsight.deployment.client import DeployClient, GoldenCheck
from onsight.deployment.deploy import DeployOutcome, DeployRequest, deploy_bundle
from onsight.deployment.local import LocalService, start_local_service, stop_local_service

__all__ = [
    "DeployClient",
    "DeployOutcome",
    "DeployRequest",
    "GoldenCheck",
    "LocalService",
    "deploy_bundle",
    "start_local_service",
    "stop_local_service",
]
