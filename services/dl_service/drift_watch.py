"""The drift monitor's newest results as metrics: read from the database in the background, never by a scrape."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onsight.db import (
    Database,
    DriftAlertRecord,
    DriftResultRecord,
    count_drift_alerts,
    newest_drift_alert,
    newest_drift_run,
)
from onsight.errors import OnsightError

__all__ = ["DriftCollector", "DriftWatch"]

_LOG = logging.getLogger(__name__)
_REFRESH_S = 15.0
_COMBINED = "combined"
_VERSION = ["model", "version"]


@dataclass(frozen=True)
class _Found:
    """What the database said last."""

    run: tuple[DriftResultRecord, ...] = ()
    alert: DriftAlertRecord | None = None
    alerts: Mapping[str, int] = field(default_factory=dict)


class DriftCollector(Collector):
    """Makes metrics of what was found.

    Not kept by prometheus-client: its files of several processes never forget a label, and a report's address is one.
    Every worker and replica reads the same rows, so that the largest of their answers is the answer of all.
    """

    def __init__(self) -> None:
        self.found = _Found()

    def collect(self) -> Iterator[Metric]:
        """The metrics, without samples while no run is known."""
        found = self.found
        tests = GaugeMetricFamily(
            "onsight_drift_p_value", "Of the newest run; the test combined is its verdict", labels=[*_VERSION, "test"]
        )
        threshold = GaugeMetricFamily("onsight_drift_threshold_ratio", "p-values at or below alarm", labels=_VERSION)
        detected = GaugeMetricFamily("onsight_drift_detected", "1: the newest verdict is drift", labels=_VERSION)
        confirmed = GaugeMetricFamily("onsight_drift_confirmed", "1: the drift is confirmed", labels=_VERSION)
        rows = GaugeMetricFamily("onsight_drift_window_rows", "Predictions that were tested", labels=_VERSION)
        last_run = GaugeMetricFamily(
            "onsight_drift_last_run_timestamp_seconds", "When the newest run was", labels=_VERSION
        )
        for row in found.run:
            labels = [row.model_name, str(row.model_version)]
            if row.p_value is not None:
                tests.add_metric([*labels, row.test], row.p_value)
            if row.test == _COMBINED:
                threshold.add_metric(labels, row.threshold)
                if row.verdict != "not enough data":
                    detected.add_metric(labels, float(row.verdict == "drift"))
                confirmed.add_metric(labels, float(bool(row.details.get("confirmed"))))
                rows.add_metric(labels, row.n_window)
                last_run.add_metric(labels, row.tested_at.timestamp())
        yield from (tests, threshold, detected, confirmed, rows, last_run)
        yield from _alert_metrics(found)


def _alert_metrics(found: _Found) -> Iterator[Metric]:
    alerts = CounterMetricFamily("onsight_drift_alerts", "Alerts on confirmed drifts", labels=["model"])
    for model_name, count in found.alerts.items():
        alerts.add_metric([model_name], count)
    newest = GaugeMetricFamily(
        "onsight_drift_alert_timestamp_seconds", "The newest alert", labels=[*_VERSION, "cause", "report"]
    )
    if found.alert is not None:
        alert = found.alert
        labels = [alert.model_name, str(alert.model_version), alert.cause, alert.report]
        newest.add_metric(labels, alert.raised_at.timestamp())
    yield from (alerts, newest)


class DriftWatch:
    """Reads the newest run and alert every 15 seconds; while the database is away, what was read last stays."""

    def __init__(self, database: Database, collector: DriftCollector, refresh_s: float = _REFRESH_S) -> None:
        self._database = database
        self._collector = collector
        self._refresh_s = refresh_s
        self._was_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift-watch", daemon=True)

    def start(self) -> None:
        """Begins to read in the background."""
        self._thread.start()

    def close(self) -> None:
        """Ends the background reading."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def refresh(self) -> bool:
        """Reads once; answers whether the database gave an answer."""
        try:
            run = newest_drift_run(self._database)
            alert = newest_drift_alert(self._database, run[0].model_name, run[0].model_version) if run else None
            self._collector.found = _Found(tuple(run), alert, count_drift_alerts(self._database))
        except OnsightError as error:
            if not self._was_failing:
                _LOG.warning("the drift monitor's results cannot be read: %s", error.message)
            self._was_failing = True
            return False
        self._was_failing = False
        return True

    def _run(self) -> None:
        while True:
            try:
                self.refresh()
            except Exception:  # noqa: BLE001 - the thread outlives whatever a driver comes up with
                _LOG.exception("the drift monitor's results could not be read")
            if self._stop.wait(self._refresh_s):
                return
