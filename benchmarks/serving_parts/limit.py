"""The limit: the service's work in processes of its own, without HTTP and without a log.

Run as ``python -m benchmarks.serving_parts.limit GRAPH PHOTOGRAPH SIDE BATCH THREADS SECONDS``, it decodes, resizes and
classifies on so many threads; ``measure_limit`` tries the arrangements that could be the strongest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.serving_parts.contestants import ROOT, Place, clean_environment
from benchmarks.serving_parts.inputs import Network
from benchmarks.serving_parts.measure import other_cores
from benchmarks.serving_parts.processes import NotRunError

__all__ = ["ARRANGEMENTS", "Arrangement", "Limit", "measure_limit"]


@dataclass(frozen=True)
class Arrangement:
    """How the work is laid out: so many processes of so many threads, each with batches of its own."""

    processes: int
    threads: int
    batch: int

    @property
    def name(self) -> str:
        """In words."""
        return f"processes {self.processes}, threads in each {self.threads}, batch {self.batch}"


@dataclass(frozen=True)
class Limit:
    """What one arrangement gave.

    Attributes:
        latency_ms: Median time of one batch.
    """

    images: int
    images_per_s: float
    cpu_ms: float
    latency_ms: float
    load_average: float
    other_cores: float


_CORES = len(os.sched_getaffinity(0))
ARRANGEMENTS = (
    *(Arrangement(_CORES, 1, batch) for batch in (1, 8, 16)),
    *(Arrangement(1, _CORES, batch) for batch in (1, 8)),
)


def measure_limit(network: Network, place: Place, arrangement: Arrangement, seconds: float) -> Limit:
    """Runs one arrangement.

    Raises:
        NotRunError: A process failed.
    """
    photograph = place.work / "photograph.jpg"
    photograph.write_bytes(place.photograph)
    numbers = [network.side, arrangement.batch, arrangement.threads, seconds]
    command = [sys.executable, "-m", "benchmarks.serving_parts.limit", str(network.graph), str(photograph)]
    workers = [
        subprocess.Popen(
            [*command, *map(str, numbers)],
            env=clean_environment(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(arrangement.processes)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    load_average, busy, started_s = os.getloadavg()[0], psutil.cpu_times(), time.monotonic()
    outputs = _run_together(workers)
    results = [json.loads(output) for output in outputs]
    elapsed_s = time.monotonic() - started_s
    images, cpu_s = sum(row["images"] for row in results), sum(row["cpu_s"] for row in results)
    return Limit(
        images=images,
        images_per_s=round(sum(row["images"] / row["seconds"] for row in results), 2),
        cpu_ms=round(1000 * cpu_s / images, 3),
        latency_ms=round(float(np.median([row["latency_ms"] for row in results])), 2),
        load_average=round(load_average, 2),
        other_cores=other_cores(busy, psutil.cpu_times(), elapsed_s, cpu_s),
    )


def _run_together(workers: list[subprocess.Popen[str]]) -> list[str]:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    outputs = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise NotRunError("a process of the limit failed")
    return outputs


def main() -> None:
    """One process' work."""
    from onsight.bundle import Engine, OnnxClassifier
    from onsight.images import read_image

    graph, photograph = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    side, batch, threads = (int(text) for text in sys.argv[3:6])
    classifier = OnnxClassifier.load(graph, Engine(threads=1))
    latencies_s: list[float] = []

    def work(duration_s: float) -> int:
        images, started_s = 0, time.perf_counter()
        while (begun_s := time.perf_counter()) < started_s + duration_s:
            classifier.run(np.stack([read_image(photograph, side, side) for _ in range(batch)]))
            latencies_s.append(time.perf_counter() - begun_s)
            images += batch
        return images

    work(0.3)
    print("warm", flush=True)
    sys.stdin.readline()
    latencies_s.clear()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        images = sum(pool.map(work, [float(sys.argv[6])] * threads))
    result = {"images": images, "seconds": time.perf_counter() - started_s, "cpu_s": time.process_time() - cpu_s}
    print(json.dumps({**result, "latency_ms": 1000 * float(np.median(latencies_s))}))


if __name__ == "__main__":
    main()
