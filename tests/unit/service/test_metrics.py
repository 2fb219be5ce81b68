"""What Prometheus reads."""

from __future__ import annotations

from pathlib import Path

from onsight.db import Outbox, ShipReport
from services.dl_service.metrics import Metrics


def values(metrics: Metrics, *names: str) -> list[float]:
    lines = [line.split() for line in metrics.render().decode().splitlines() if not line.startswith("#")]
    found = {line[0]: float(line[1]) for line in lines}
    return [found[f"onsight_{name}"] for name in names]


def test_load_falls_back_with_the_next_shipment_when_no_request_comes_any_more(tmp_path: Path) -> None:
    metrics, outbox = Metrics(), Outbox(tmp_path / "outbox", 10**6)
    load = [3, 4]
    metrics.watch_load(lambda: (load[0], load[1]))
    metrics.note_load()
    before = values(metrics, "http_in_flight_requests", "predict_queued_images")
    load[:] = [0, 0]

    metrics.count_shipment(ShipReport(0, 0, failed=False), outbox)

    assert before == [3, 4]
    assert values(metrics, "http_in_flight_requests", "predict_queued_images") == [0, 0]
    outbox.close()
