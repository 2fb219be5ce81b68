"""What Prometheus reads: counters and histograms of one registry, right with several worker processes too.

Where ``PROMETHEUS_MULTIPROC_DIR`` is set, prometheus-client keeps every value in a file there, and the answer of any
worker is the sum over all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

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
_MULTIPROC_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The service's metrics, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "onsight_http_requests", "Requests answered", ["route", "method", "status", "code"], registry=registry
        )
        self._request_seconds = Histogram(
            "onsight_http_request_seconds", "From request to answer", ["route"], buckets=_SECONDS, registry=registry
        )
        self._stage_seconds = Histogram(
            "onsight_predict_stage_seconds", "Time by stage", ["stage"], buckets=_SECONDS, registry=registry
        )
        self._classes = Counter("onsight_predict_top_class", "Top classes", ["model", "top_class"], registry=registry)
        self._confidence = Histogram(
            "onsight_predict_confidence_ratio", "Of the top class", ["model"], buckets=_CONFIDENCES, registry=registry
        )
        self._gauges = {
            name: Gauge(f"onsight_{name}", text, registry=registry, multiprocess_mode="livesum")
            for name, text in (
                ("http_in_flight_requests", "Requests being received or answered"),
                ("predict_queued_images", "Images waiting for a thread"),
            )
        }
        # Every worker of a host sees the same outbox folder: the newest reading is the right one, not the sum.
        self._outbox_bytes = Gauge(
            "onsight_outbox_pending_bytes", "Not yet in the database", registry=registry, multiprocess_mode="livemax"
        )
        self._outbox_age = Gauge(
            "onsight_outbox_oldest_seconds", "Age of the oldest", registry=registry, multiprocess_mode="livemax"
        )
        self._outbox_records = Counter("onsight_outbox_records", "By outcome", ["outcome"], registry=registry)
        self._outbox_failures = Counter("onsight_outbox_failed_shipments", "Database failures", registry=registry)
        self._swaps = Counter("onsight_model_swaps", "Model changes", ["outcome"], registry=registry)
        self._served = Gauge(
            "onsight_model_served_version", "Version served", ["model"], registry=registry, multiprocess_mode="livemin"
        )

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
        self._gauges["http_in_flight_requests"].set(in_flight)
        self._gauges["predict_queued_images"].set(queued)

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
