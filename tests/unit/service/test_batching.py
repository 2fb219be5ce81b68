"""Batches: how many jobs a thread takes at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from services.dl_service.batching import Batcher, BatchLimits, Ticket


def batch_sizes(n_jobs: int, seconds_per_batch: float, seconds_per_job: float) -> list[int]:
    """Of jobs that come all at once, after one that came alone."""
    sizes: list[int] = []

    def work(tickets: Sequence[Ticket[int, int]]) -> list[int]:
        sizes.append(len(tickets))
        time.sleep(seconds_per_batch + seconds_per_job * len(tickets))
        return [ticket.job for ticket in tickets]

    async def ask() -> None:
        batcher = Batcher[int, int](work, BatchLimits(threads=1, queue_size=1000, max_batch=8, deadline_s=60))
        assert await batcher.submit(-1) == -1
        assert await asyncio.gather(*(batcher.submit(job) for job in range(n_jobs))) == list(range(n_jobs))
        batcher.close()

    asyncio.run(ask())
    assert sum(sizes) == n_jobs + 1
    return sizes


def test_batches_of_quick_jobs_are_large() -> None:
    assert max(batch_sizes(200, seconds_per_batch=0.002, seconds_per_job=0)) > 1


def test_job_that_fills_a_core_by_itself_waits_for_no_other() -> None:
    assert set(batch_sizes(12, seconds_per_batch=0, seconds_per_job=0.06)) == {1}
