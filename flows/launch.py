"""Starts a flow through Prefect, and says so plainly when Prefect's server does not answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from rich.console import Console

from flows.summary import RunSummary, print_summary
from onsight.config import Section
from onsight.errors import DependencyError, StorageError
from onsight.settings import Settings

__all__ = ["launch"]


def launch(
    flow: Callable[..., RunSummary],
    config: Section,
    prepare: Callable[[Settings], None] | None = None,
    **options: Any,  # noqa: ANN401 - the flow's own
) -> RunSummary:
    """Run a flow and print its summary.

    Args:
        flow: A Prefect flow that takes the config.
        config: Its config.
        prepare: What the flow needs before its first stage: checked and loaded while Prefect's server starts.
        options: Further arguments of the flow.

    Raises:
        DependencyError: Prefect's server does not answer.
        OnsightError: What a stage raised.
    """
    settings = Settings()
    _make_state_folder(settings)
    check_prefect(settings)
    try:
        with ThreadPoolExecutor(1) as starter:
            server = starter.submit(_start_server)
            if prepare is not None:
                prepare(settings)
            server.result()
        summary = flow(config, **options)
    except httpx.TransportError as error:
        raise _unreachable(settings, error) from error
    except RuntimeError as error:
        # Prefect has no type of its own for a server that does not come up or does not answer.
        if "Failed to reach API" in str(error) or "ephemeral Prefect API server" in str(error):
            raise _unreachable(settings, error) from error
        raise
    print_summary(summary, Console())
    return summary


def _start_server() -> None:
    """Start Prefect's temporary server, or find the one that its settings name."""
    from prefect.client.orchestration import get_client

    get_client(sync_client=True)


def _make_state_folder(settings: Settings) -> None:
    try:
        # Prefect's temporary server makes its folder, but not that folder's parent.
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the state folder {settings.state_dir} cannot be made: {error.strerror}",
            hint="set ONSIGHT_STATE_DIR to a folder that can be written",
        ) from error


def check_prefect(settings: Settings) -> None:
    """Ask the Prefect server that the settings name, if they name one, whether it is healthy.

    Raises:
        DependencyError: It does not say so.
    """
    if not settings.prefect_api_url:
        return
    try:
        url = f"{settings.prefect_api_url.rstrip('/')}/health"
        httpx.get(url, timeout=settings.request_timeout_s).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(settings, error) from error


def _unreachable(settings: Settings, error: Exception) -> DependencyError:
    where = settings.prefect_api_url or "its own temporary server"
    return DependencyError(
        f"Prefect at {where} does not answer: {error}",
        hint="start the server, or set PREFECT_API_URL; unset it to run with a temporary server",
    )
