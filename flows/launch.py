"""Starts a flow through Prefect, and says so plainly when Prefect's server does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from rich.console import Console

from flows.prefect_server import refuse_absent_server, unreachable, wait_for_prefect
from flows.summary import RunSummary, print_summary
from onsight.config import Section
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
    refuse_absent_server(settings)
    try:
        if prepare is not None:
            prepare(settings)
        wait_for_prefect(settings)
        summary = flow(config, **options)
    except httpx.TransportError as error:
        raise unreachable(settings, error) from error
    except RuntimeError as error:
        # Prefect has no type of its own for a server that does not answer.
        if "Failed to reach API" in str(error):
            raise unreachable(settings, error) from error
        raise
    print_summary(summary, Console())
    return summary
