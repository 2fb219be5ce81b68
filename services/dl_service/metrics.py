"""What Prometheus reads: counters and histograms of one registry, right with several worker processes too.

Where ``PROMETHEUS_MULTIPROC_DIR`` is set, prometheus-client keeps every value in a file there, and the answer of any
worker is the sum over all of them.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client import multiprocess as prometheus_multiprocess

from onsight.db import Outbox, PredictionRecord, ShipReport
from onsight.image_archive import ArchiveCounts
from services.dl_service.drift_watch import DriftCollector
from services.dl_service.models import ServedModel

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
_CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_Across = Literal["livesum", "livemax", "liveall"]
_MULTIPROC_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The service's metrics, in a registry of their own.

    Attributes:
        drift: What the drift monitor found, for ``DriftWatch`` to fill.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        _know_own_pid()
        self._registry = CollectorRegistry()
        self.drift = DriftCollector()
        self._registry.register(self.drift)
        self._make_request_metrics()
        self._make_model_metrics()
        self._outbox_bytes = self._gauge("outbox_pending_bytes", "Not yet in the database", "livemax")
        self._outbox_age = self._gauge("outbox_oldest_seconds", "Age of the oldest unsent segment", "livemax")
        self._outbox_records = self._counter("outbox_records", "Records by outcome", "outcome")
        self._dropped = 0
        self._read_load: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self._archived = self._gauge("archive_images", "Images by outcome, since the start", "livesum", "outcome")
        self._outbox_failures = self._counter("outbox_failed_shipments", "Shipments the database did not take")

    def _make_request_metrics(self) -> None:
        requests = self._counter("http_requests", "Requests answered", "route", "method", "status", "code")
        request_seconds = self._histogram("http_request_seconds", "From request to answer", _SECONDS, "route")
        # To find a metric by its labels takes as long as to change it.
        self._requests, self._request_seconds = cache(requests.labels), cache(request_seconds.labels)
        self._in_flight = self._gauge("http_in_flight_requests", "Requests being received or answered", "livesum")
        self._queued = self._gauge("predict_queued_images", "Images waiting for a thread", "livesum")

    def _make_model_metrics(self) -> None:
        stage_seconds = self._histogram("predict_stage_seconds", "Time by stage", _SECONDS, "stage")
        self._batch_images = self._histogram("predict_batch_images", "Images in one batch", _BATCH_SIZES)
        classes = self._counter("predict_top_class", "Predictions by top class", "model", "top_class")
        confidence = self._histogram("predict_confidence_ratio", "Of the top class", _CONFIDENCES, "model")
        self._stage_seconds, self._classes = cache(stage_seconds.labels), cache(classes.labels)
        self._confidence = cache(confidence.labels)
        self._swaps = self._counter("model_swaps", "Attempts to change the model", "outcome")
        self._served = self._gauge(
            "model_served", "1 for the version that takes traffic", "liveall", "model", "version"
        )
        self._served_last: tuple[str, str] | None = None
        self._resident_bytes = self._gauge("process_resident_bytes", "Memory of this worker", "liveall")

    def count_request(self, route: str, method: str, status: int, code: str, seconds: float) -> None:
        """One request, answered."""
        self._requests(route, method, str(status), code).inc()
        self._request_seconds(route).observe(seconds)

    def count_prediction(self, record: PredictionRecord) -> None:
        """One prediction, made."""
        for stage, milliseconds in record.timings_ms.items():
            self.count_stage(stage, milliseconds)
        self._classes(record.model_name, record.top_class).inc()
        self._confidence(record.model_name).observe(record.confidence)

    def count_stage(self, stage: str, milliseconds: float) -> None:
        """One stage of a prediction, passed."""
        self._stage_seconds(stage).observe(milliseconds / 1000)

    def count_archive(self, counts: ArchiveCounts) -> None:
        """What has become of the images that were to be kept, since the start."""
        for outcome in ("stored", "dropped", "failed"):
            self._archived.labels(outcome).set(getattr(counts, outcome))

    def count_batch(self, n_images: int) -> None:
        """One batch, inferred."""
        self._batch_images.observe(n_images)

    def watch_load(self, read: Callable[[], tuple[int, int]]) -> None:
        """Says where to read how many requests are in flight and how many images are queued, in this process."""
        self._read_load = read

    def note_load(self) -> None:
        """How many requests and images the service holds right now."""
        in_flight, queued = self._read_load()
        self._in_flight.set(in_flight)
        self._queued.set(queued)

    def count_shipment(self, report: ShipReport, outbox: Outbox) -> None:
        """One pass of the outbox."""
        self._outbox_records.labels("shipped").inc(report.shipped)
        self._outbox_records.labels("rejected").inc(report.rejected)
        self._outbox_records.labels("dropped").inc(outbox.dropped - self._dropped)
        self._dropped = outbox.dropped
        # Here, where every worker comes by again and again: /metrics is answered by one of them alone.
        self.note_load()
        self._resident_bytes.set(_resident_bytes())
        if report.failed:
            self._outbox_failures.inc()
        self._outbox_bytes.set(outbox.pending_bytes)
        self._outbox_age.set(outbox.oldest_age_s())

    def count_swap(self, outcome: str) -> None:
        """One attempt to change the model: ``done`` or ``failed``."""
        self._swaps.labels(outcome).inc()

    def count_served(self, model: ServedModel) -> None:
        """The model that takes traffic from now on."""
        metadata = model.bundle.metadata
        self.count_swap("done")
        if self._served_last is not None:
            self._served.labels(*self._served_last).set(0)
        self._served_last = (metadata.model_name, str(metadata.version))
        self._served.labels(*self._served_last).set(1)

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        if _MULTIPROC_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(os.environ[_MULTIPROC_VARIABLE]))
        together = CollectorRegistry()
        prometheus_multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        together.register(self.drift)
        return generate_latest(together)

    def close(self) -> None:
        """Takes this process's live gauges out of the sums."""
        if _MULTIPROC_VARIABLE in os.environ:
            prometheus_multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"onsight_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"onsight_{name}", text, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, text: str, across: _Across, *labels: str) -> Gauge:
        """``across`` says how the values of several processes become one."""
        return Gauge(f"onsight_{name}", text, labels, registry=self._registry, multiprocess_mode=across)


def _know_own_pid() -> None:
    """prometheus-client would ask the kernel for it at every change of every value."""
    if _MULTIPROC_VARIABLE in os.environ:
        pid = os.getpid()
        values.ValueClass = values.MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]


def _forget_dead_workers(folder: Path) -> None:
    """Takes the live gauges of workers that were killed out of the sums."""
    for path in folder.glob("gauge_live*.db"):
        found = re.search(r"_(\d+)\.db$", path.name)
        if found and not Path("/proc", found[1]).exists():
            prometheus_multiprocess.mark_process_dead(int(found[1]))  # type: ignore[no-untyped-call]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
