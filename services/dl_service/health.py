"""Whether the model answers: asked by anyone as often as they like, found out about once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor

from services.dl_service.models import ServedModel

__all__ = ["HealthCheck"]

_VALID_S = 1.0


class HealthCheck:
    """One inference at a time, whose outcome everyone shares who asks meanwhile or shortly after. For one event loop.

    Args:
        current: Gives the model that is served, or raises when there is none.
        check: Asks the served model for one inference; blocks.
        threads: Where that runs.
        valid_s: How long an outcome holds, once it is known; of a model that was swapped out it does not.
    """

    def __init__(
        self,
        current: Callable[[], ServedModel],
        check: Callable[[], ServedModel],
        threads: Executor,
        valid_s: float = _VALID_S,
    ) -> None:
        self._current = current
        self._check = check
        self._threads = threads
        self._valid_s = valid_s
        self._model: ServedModel | None = None
        self._outcome: asyncio.Future[ServedModel] | None = None
        self._known_until_s = 0.0

    async def outcome(self) -> ServedModel:
        """The model that answered.

        Raises:
            NoModelError: There is no model, or it does not answer.
        """
        model = self._current()
        if self._outcome is None or model is not self._model or self._is_over(self._outcome):
            self._model = model
            self._outcome = asyncio.get_running_loop().run_in_executor(self._threads, self._check)
            self._outcome.add_done_callback(self._note_end)
        # One client that goes away ends nobody else's check.
        return await asyncio.shield(self._outcome)

    def _is_over(self, outcome: asyncio.Future[ServedModel]) -> bool:
        return outcome.done() and time.monotonic() >= self._known_until_s

    def _note_end(self, outcome: asyncio.Future[ServedModel]) -> None:
        if outcome is self._outcome:
            self._known_until_s = time.monotonic() + self._valid_s
        if not outcome.cancelled():
            outcome.exception()  # looked at, also when nobody waits any more
