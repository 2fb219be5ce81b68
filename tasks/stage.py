"""The one way a task is declared here: no caching, no stored results, retries only where a repeat is harmless."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import Task

__all__ = ["stage"]

P = ParamSpec("P")
R = TypeVar("R")


def stage(name: str, *, retries: int = 0, retry_delay_s: float = 2.0) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Declare a Prefect task for one stage.

    Results travel in memory: networks and data sets are neither hashed for a cache key nor written to Prefect's
    storage.

    Args:
        name: The task's name in Prefect.
        retries: Repeats after a failure; only for steps that may be repeated without harm.
        retry_delay_s: Pause before each repeat.
    """

    return task(
        name=name, cache_policy=NO_CACHE, persist_result=False, retries=retries, retry_delay_seconds=retry_delay_s
    )
