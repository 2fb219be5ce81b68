"""The MLflow adapter of the model registry."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlparse

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion
from mlflow.exceptions import MlflowException

from onsight.domain import ModelVersion
from onsight.errors import DependencyError
from onsight.settings import Settings
from onsight.tracking.connection import connect, unreachable
from onsight.tracking.delivery import find_logged_model

__all__ = ["MlflowRegistry"]

_RUN_URI = re.compile(r"runs:/(?P<run_id>[^/]+)/(?P<name>.+)")
# MLflow calls an alias that names nothing an invalid parameter.
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")
_EXISTS = "RESOURCE_ALREADY_EXISTS"

Answer = TypeVar("Answer")


class MlflowRegistry:
    """Versions in MLflow: see ``ModelRegistry``.

    Args:
        settings: Name the server.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: MlflowClient | None = None

    def register(self, model_name: str, run_id: str, model_uri: str, tags: Mapping[str, str]) -> ModelVersion:
        """Make the next version; see ``ModelRegistry.register``."""
        return self._ask(lambda client: _register(client, model_name, run_id, model_uri, dict(tags)))

    def resolve(self, model_name: str, version_or_alias: str) -> ModelVersion | None:
        """A version by number or alias; see ``ModelRegistry.resolve``."""
        return self._ask(lambda client: _resolve(client, model_name, version_or_alias))

    def set_alias(self, model_name: str, alias: str, version: int) -> None:
        """Move an alias; see ``ModelRegistry.set_alias``."""
        self._ask(lambda client: client.set_registered_model_alias(model_name, alias, str(version)))

    def versions(self) -> list[ModelVersion]:
        """Every version of every model; see ``ModelRegistry.versions``."""
        return self._ask(_versions)

    def delete_version(self, model_name: str, version: int) -> None:
        """Take a version back; see ``ModelRegistry.delete_version``."""
        if self.resolve(model_name, str(version)) is not None:
            self._ask(lambda client: client.delete_model_version(model_name, str(version)))

    def _ask(self, call: Callable[[MlflowClient], Answer]) -> Answer:
        try:
            if self._client is None:
                self._client = connect(self._settings)
            return call(self._client)
        except DependencyError:
            raise
        except Exception as error:
            raise unreachable(self._settings.mlflow_tracking_uri, error) from error


def _register(client: MlflowClient, model_name: str, run_id: str, model_uri: str, tags: dict[str, str]) -> ModelVersion:
    source, model_id = _source(client, model_uri)
    try:
        client.create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != _EXISTS:
            raise
    made = client.create_model_version(
        model_name, source, run_id=run_id, tags=tags, model_id=model_id, await_creation_for=0
    )
    return _to_domain(made)


def _source(client: MlflowClient, model_uri: str) -> tuple[str, str | None]:
    run_uri = _RUN_URI.fullmatch(model_uri)
    if run_uri is None:
        return model_uri, None
    model = find_logged_model(client, run_uri["run_id"], run_uri["name"])
    if model is None or model.status != "READY":
        raise DependencyError(
            f"MLflow has not received the model of run {run_uri['run_id']}",
            hint="python -m onsight.tracking sync, then try again",
            run_id=run_uri["run_id"],
        )
    if urlparse(client.tracking_uri).scheme in ("http", "https"):
        return f"models:/{model.model_id}", model.model_id
    # Without a server, MLflow's store looks such an address up in the process's default tracking address.
    return str(model.artifact_location), model.model_id


def _resolve(client: MlflowClient, model_name: str, version_or_alias: str) -> ModelVersion | None:
    try:
        if version_or_alias.isdecimal():
            return _to_domain(client.get_model_version(model_name, version_or_alias))
        return _to_domain(client.get_model_version_by_alias(model_name, version_or_alias))
    except MlflowException as error:
        if error.error_code in _MISSING:
            return None
        raise


def _versions(client: MlflowClient) -> list[ModelVersion]:
    aliases: dict[tuple[str, int], list[str]] = defaultdict(list)
    # A search for versions leaves their aliases out.
    for model in _pages(client.search_registered_models):
        for alias, version in model.aliases.items():
            aliases[model.name, int(version)].append(alias)
    found = [_to_domain(version) for version in _pages(client.search_model_versions)]
    named = [replace(one, aliases=tuple(sorted(aliases[one.model_name, one.version]))) for one in found]
    return sorted(named, key=lambda version: (version.model_name, version.version))


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _to_domain(version: MlflowModelVersion) -> ModelVersion:
    return ModelVersion(
        model_name=version.name,
        version=int(version.version),
        run_id=version.run_id or "",
        aliases=tuple(sorted(version.aliases)),
        tags=dict(version.tags),
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
    )
