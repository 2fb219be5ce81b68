"""Reaching MLflow: a client that gives up early, and the error of a server that does not answer."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from onsight.errors import DependencyError
from onsight.settings import Settings
from onsight.tracking.delivery import is_final
from onsight.tracking.messages import first_line, without_password

__all__ = ["connect", "journal_folder", "unreachable"]


def connect(settings: Settings) -> MlflowClient:
    """A client of the tracking server, or of the local SQLite file, that gives up early.

    Raises:
        DependencyError: The address is of no kind that MLflow knows, or the local file cannot be opened.
    """
    # MLflow's client reads these from the environment alone. Its own patience (7 retries, 120 s each) is replaced
    # by the journal's: one short attempt, then again later.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(max(1, round(settings.request_timeout_s))))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # It tells at every first use that it makes its tables.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    uri = settings.mlflow_tracking_uri
    try:
        if not settings.tracking_uri:
            settings.state_dir.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, OSError) as error:
        raise unreachable(uri, error) from error


def unreachable(uri: str, error: Exception) -> DependencyError:
    """The error of a tracking server that does not answer, or answers with a refusal."""
    where, why = f"MLflow at {without_password(uri)}", first_line(error)
    if is_final(error):
        return DependencyError(f"{where} refuses: {why}")
    return DependencyError(
        f"{where} does not answer: {why}",
        hint="start the server, or set MLFLOW_TRACKING_URI; unset it to track into a local file",
    )


def journal_folder(settings: Settings) -> Path:
    """Where runs keep their journals."""
    return settings.state_dir.absolute() / "tracking_journal"
