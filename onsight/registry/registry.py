"""What the model registry is: names, immutable versions, and aliases that move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from onsight.domain import ModelVersion
from onsight.settings import Settings

__all__ = ["ModelRegistry", "open_registry"]


class ModelRegistry(Protocol):
    """Versions of models. An alias (``challenger``, ``champion``) names one version of a model at a time."""

    def register(self, model_name: str, run_id: str, model_uri: str, tags: Mapping[str, str]) -> ModelVersion:
        """Make the next version of a model from what a run logged.

        Args:
            model_name: Made if there is none.
            run_id: The run that trained it.
            model_uri: What ``TrackedRun.log_model`` gave.
            tags: Of the version.

        Raises:
            DependencyError: The server does not answer, or it has not received the model.
        """
        ...

    def resolve(self, model_name: str, version_or_alias: str) -> ModelVersion | None:
        """The version of this number or alias, or None.

        Raises:
            DependencyError: The server does not answer.
        """
        ...

    def set_alias(self, model_name: str, alias: str, version: int) -> None:
        """Let an alias name this version, and no other.

        Raises:
            DependencyError: The server does not answer, or there is no such version.
        """
        ...

    def versions(self) -> list[ModelVersion]:
        """Every registered version of every model, by name and number.

        Raises:
            DependencyError: The server does not answer.
        """
        ...

    def delete_version(self, model_name: str, version: int) -> None:
        """Take back a version that nobody needs; nothing happens if there is none.

        Raises:
            DependencyError: The server does not answer.
        """
        ...


def open_registry(settings: Settings) -> ModelRegistry:
    """The registry of the MLflow server that the settings name, or of the local SQLite file."""
    from onsight.registry.mlflow_registry import MlflowRegistry

    return MlflowRegistry(settings)
