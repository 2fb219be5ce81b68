"""Whether the model answers, however many ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.dl_service.errors import NoModelError
from services.dl_service.health import HealthCheck
from services.dl_service.models import ServedModel


def model(name: str) -> ServedModel:
    return ServedModel(cast("Any", SimpleNamespace(metadata=SimpleNamespace(bundle_name=name))), None)


@dataclass
class Models:
    """Counts how often its model is asked, and answers when it is let."""

    current: ServedModel = field(default_factory=lambda: model("cells-v1"))
    error: NoModelError | None = None
    may_answer: threading.Event = field(default_factory=threading.Event)
    n_checks: int = 0

    def check(self) -> ServedModel:
        self.n_checks += 1
        self.may_answer.wait(30)
        if self.error is not None:
            raise self.error
        return self.current


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def health_of(models: Models, threads: ThreadPoolExecutor, valid_s: float = 60.0) -> HealthCheck:
    return HealthCheck(lambda: models.current, models.check, threads, valid_s)


def test_outcome_is_shared_by_all_who_ask_meanwhile_and_after(threads: ThreadPoolExecutor) -> None:
    models = Models()

    async def ask() -> list[ServedModel]:
        health = health_of(models, threads)
        waiting = [asyncio.ensure_future(health.outcome()) for _ in range(50)]
        gone = asyncio.ensure_future(health.outcome())
        await asyncio.sleep(0)
        gone.cancel()
        models.may_answer.set()
        return [*await asyncio.gather(*waiting), await health.outcome()]

    assert asyncio.run(ask()) == [models.current] * 51
    assert models.n_checks == 1


def test_outcome_that_is_old_is_found_out_anew(threads: ThreadPoolExecutor) -> None:
    models = Models()
    models.may_answer.set()

    async def ask() -> None:
        health = health_of(models, threads, valid_s=0.0)
        await health.outcome()
        models.error = NoModelError("it fails to answer")
        with pytest.raises(NoModelError):
            await health.outcome()

    asyncio.run(ask())
    assert models.n_checks == 2


def test_outcome_of_a_model_that_was_swapped_out_does_not_hold(threads: ThreadPoolExecutor) -> None:
    models = Models()
    models.may_answer.set()

    async def ask() -> ServedModel:
        health = health_of(models, threads)
        await health.outcome()
        models.current = model("cells-v2")
        return await health.outcome()

    assert asyncio.run(ask()).name == "cells-v2"


def test_failure_is_shared_too(threads: ThreadPoolExecutor) -> None:
    models = Models(error=NoModelError("it fails to answer"))
    models.may_answer.set()

    async def ask() -> list[ServedModel | BaseException]:
        health = health_of(models, threads)
        return await asyncio.gather(*(health.outcome() for _ in range(3)), return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(ask())] == [NoModelError] * 3
    assert models.n_checks == 1
