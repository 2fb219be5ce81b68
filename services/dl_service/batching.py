"""Micro-batches without waiting: one item when little is queued, an equal share of much, few when each takes long."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.dl_service.errors import DeadlineError, OverloadedError

__all__ = ["BatchLimits", "Batcher", "Ticket"]

_LOG = logging.getLogger(__name__)
# Nobody gets an answer before the whole batch has one, and a network that takes so long gains nothing from a batch: an
# image took ResNet50 110 ms of CPU alone and 114 ms among eight.
_LONGEST_BATCH_S = 0.1
# Of the newest batch, in the time that one job takes.
_WEIGHT = 0.2
JobT = TypeVar("JobT")
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class BatchLimits:
    """How much the threads take on.

    Attributes:
        threads: Batches worked on at once.
        queue_size: Jobs that wait or are worked on.
        max_batch: Jobs in one batch.
        deadline_s: From submission to answer.
    """

    threads: int
    queue_size: int
    max_batch: int
    deadline_s: float

    @property
    def images_at_once(self) -> int:
        """Of one request: what the threads take in, so that a large one leaves room in the queue for others."""
        return min(self.threads * self.max_batch, self.queue_size)


@dataclass(eq=False)
class Ticket(Generic[JobT, AnswerT]):
    """A job on its way, and the place of its answer.

    Attributes:
        submitted_s: On the clock of ``time.perf_counter``.
    """

    job: JobT
    future: asyncio.Future[AnswerT]
    loop: asyncio.AbstractEventLoop
    deadline_s: float
    submitted_s: float = field(default_factory=time.perf_counter)

    @property
    def is_wanted(self) -> bool:
        """Whether someone still waits for the answer."""
        return not self.future.done() and time.perf_counter() < self.deadline_s


class Batcher(Generic[JobT, AnswerT]):
    """A bounded queue and the threads that empty it.

    Args:
        work: Takes a batch of tickets, and gives an answer or an error for each, in their order.
    """

    def __init__(
        self, work: Callable[[Sequence[Ticket[JobT, AnswerT]]], Sequence[AnswerT | Exception]], limits: BatchLimits
    ) -> None:
        self._work = work
        self._limits = limits
        self._queue: deque[Ticket[JobT, AnswerT]] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._is_closed = False
        self._job_s = 0.0  # threads may overwrite each other's: it is an estimate
        self._unanswered = 0  # changed on the event loop alone
        self._threads = [
            threading.Thread(target=self._run, name=f"inference-{index}", daemon=True)
            for index in range(limits.threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def queued(self) -> int:
        """Jobs that wait for a thread."""
        return len(self._queue)

    def refuse_when_full(self) -> None:
        """Refuses one more job when the queue is full.

        Raises:
            OverloadedError: It is.
        """
        # Jobs whose time is over leave the queue only when a thread comes to them.
        pending = max(self._unanswered, len(self._queue))
        if pending >= self._limits.queue_size:
            raise OverloadedError(f"{pending} images are waiting already", "try again in a moment")

    async def submit(self, job: JobT) -> AnswerT:
        """The answer to one job. Call it on an event loop.

        Raises:
            OverloadedError: The queue is full.
            DeadlineError: The answer was not ready in time.
            Exception: What ``work`` gave instead of an answer.
        """
        self.refuse_when_full()
        loop = asyncio.get_running_loop()
        wait_s = self._limits.deadline_s
        ticket: Ticket[JobT, AnswerT] = Ticket(job, loop.create_future(), loop, time.perf_counter() + wait_s)
        timer = loop.call_later(wait_s, _expire, ticket.future, wait_s)
        self._unanswered += 1
        with self._ready:
            self._queue.append(ticket)
            self._ready.notify()
        try:
            return await ticket.future
        finally:
            self._unanswered -= 1
            timer.cancel()

    def close(self) -> None:
        """Waits for the batches being worked on; what is still queued is dropped."""
        with self._ready:
            self._is_closed = True
            self._queue.clear()
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._take():
            began_s = time.perf_counter()
            try:
                outcomes = self._work(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told, and the thread lives
                _LOG.exception("a batch of %d failed as a whole", len(batch))
                outcomes = [error] * len(batch)
            self._note_time((time.perf_counter() - began_s) / len(batch))
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                batch[0].loop.call_soon_threadsafe(_settle, batch, outcomes)

    def _take(self) -> list[Ticket[JobT, AnswerT]]:
        """The next batch, of tickets that are still wanted; empty once closed."""
        while True:
            with self._ready:
                while not self._queue:
                    if self._is_closed:
                        return []
                    self._ready.wait()
                taken = [self._queue.popleft() for _ in range(self._share())]
            if wanted := [ticket for ticket in taken if ticket.is_wanted]:
                return wanted

    def _note_time(self, job_s: float) -> None:
        self._job_s = self._job_s + _WEIGHT * (job_s - self._job_s) if self._job_s else job_s

    def _share(self) -> int:
        """Of what is queued, how much one thread takes."""
        in_time = int(_LONGEST_BATCH_S / self._job_s) if self._job_s else self._limits.max_batch
        return min(math.ceil(len(self._queue) / self._limits.threads), self._limits.max_batch, max(1, in_time))


def _expire(future: asyncio.Future[AnswerT], wait_s: float) -> None:
    if not future.done():
        future.set_exception(DeadlineError(f"no answer within {wait_s:g} s", "try again in a moment"))


def _settle(batch: Sequence[Ticket[JobT, AnswerT]], outcomes: Sequence[AnswerT | Exception]) -> None:
    for ticket, outcome in zip(batch, outcomes, strict=True):
        if ticket.future.done():
            continue
        if isinstance(outcome, Exception):
            ticket.future.set_exception(outcome)
        else:
            ticket.future.set_result(outcome)
