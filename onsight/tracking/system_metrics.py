"""CPU, memory, disk, network and GPU use of a run, sampled while it is open."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

__all__ = ["SystemMetrics"]

_LOG = logging.getLogger(__name__)


class SystemMetrics:
    """Samples in a thread of its own; MLflow shows names below ``system/`` on a page of their own.

    MLflow's own monitor asks the server for the run at every sample and ends when it does not answer; this one
    takes MLflow's readings and hands them to the run's journal.

    Args:
        log: Takes the values and the step.
        started_ms: When the run started; the step is the number of intervals since.
        interval_s: Between samples, in seconds.
    """

    def __init__(self, log: Callable[[Mapping[str, float], int], None], started_ms: int, interval_s: float) -> None:
        self._log = log
        self._started_s = started_ms / 1000
        self._interval_s = interval_s
        self._monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor(), *_gpu_monitors()]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stopping.wait(self._interval_s)
            try:
                self._sample()
            except Exception as error:  # noqa: BLE001 - a sensor that cannot be read must not end the run
                _LOG.debug("system metrics were not read: %s", error)

    def _sample(self) -> None:
        values: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            values.update({f"system/{name}": float(value) for name, value in monitor.aggregate_metrics().items()})
            monitor.clear_metrics()
        self._log(values, int((time.time() - self._started_s) / self._interval_s))


def _gpu_monitors() -> list[Any]:
    try:
        return [GPUMonitor()]
    except (ImportError, RuntimeError):
        return []  # no GPU, or no library to read it with
