"""What Prometheus reads: counters and histograms of one registry, right with several worker processes too.

Where ``PROMETHEUS_MULTIPROC_DIR`` is set, prometheus-client keeps every value in a file there, and the answer of any
worker is the sum over all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client import multiprocess as prometheus_multiprocess

from onsight.db import Outbox, ShipReport

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_Across = Literal["livesum", "livemax", "livemin"]
_MULTIPROC_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The service's metrics, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._make_request_metrics()
        self._make_model_metrics()
        self._outbox_bytes = self._gauge("outbox_pending_bytes", "Not yet in the database", "livemax")
        self._outbox_age = self._gauge("outbox_oldest_seconds", "Age of the oldest unsent segment", "livemax")
        self._outbox_records = self._counter("outbox_records", "Records by outcome", "outcome")
        self._outbox_failures = self._counter("outbox_failed_shipments", "Shipments the database did not take")

    def _make_request_metrics(self) -> None:
        self._requests = self._counter("http_requests", "Requests answered", "route", "method", "status", "code")
        self._request_seconds = self._histogram("http_request_seconds", "From request to answer", _SECONDS, "route")
        self._in_flight = self._gauge("http_in_flight_requests", "Requests being received or answered", "livesum")
        self._queued = self._gauge("predict_queued_images", "Images waiting for a thread", "livesum")

    def _make_model_metrics(self) -> None:
        self._stage_seconds = self._histogram("predict_stage_seconds", "Time by stage", _SECONDS, "stage")
        self._classes = self._counter("predict_top_class", "Predictions by top class", "model", "top_class")
        self._confidence = self._histogram("predict_confidence_ratio", "Of the top class", _CONFIDENCES, "model")
        self._swaps = self._counter("model_swaps", "Attempts to change the model", "outcome")
        self._served = self._gauge("model_served_version", "Version that takes traffic", "livemin", "model")

    def count_request(self, route: str, method: str, status: int, code: str, seconds: float) -> None:
        """One request, answered."""
        self._requests.labels(route, method, str(status), code).inc()
        self._request_seconds.labels(route).observe(seconds)

    def count_prediction(self, model: str, top_class: str, confidence: float, timings_ms: Mapping[str, float]) -> None:
        """One prediction, made."""
        for stage, milliseconds in timings_ms.items():
            self._stage_seconds.labels(stage).observe(milliseconds / 1000)
        self._classes.labels(model, top_class).inc()
        self._confidence.labels(model).observe(confidence)

    def set_load(self, *, in_flight: int, queued: int) -> None:
        """How many requests and images the service holds right now."""
        self._in_flight.set(in_flight)
        self._queued.set(queued)

    def count_shipment(self, report: ShipReport, outbox: Outbox) -> None:
        """One pass of the outbox."""
        self._outbox_records.labels("shipped").inc(report.shipped)
        self._outbox_records.labels("rejected").inc(report.rejected)
        if report.failed:
            self._outbox_failures.inc()
        self._outbox_bytes.set(outbox.pending_bytes)
        self._outbox_age.set(outbox.oldest_age_s())

    def count_swap(self, outcome: str) -> None:
        """One attempt to change the model: ``done`` or ``failed``."""
        self._swaps.labels(outcome).inc()

    def set_served(self, model: str, version: int) -> None:
        """The version that takes traffic now."""
        self._served.clear()
        self._served.labels(model).set(version)

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        if _MULTIPROC_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        prometheus_multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
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
