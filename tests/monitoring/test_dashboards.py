"""Every query of dashboards and rules, run by a real Prometheus before dl_service, and by a real Postgres."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
import yaml

from onsight.db import (
    AccuracyPeriod,
    AccuracyRecord,
    DriftAlertRecord,
    DriftResultRecord,
    LabelArrival,
    open_database,
    raise_drift_alert,
    record_drift_results,
    replace_accuracy,
    upgrade,
    uuid7,
)
from tests.servers import dashboards, pictures
from tests.servers.bundle import BundleStore
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.postgres import PostgresServer
from tests.servers.prometheus import PrometheusServer

# They speak of what did not happen here: no server error, no request turned away, no failed swap.
MAY_BE_EMPTY = re.compile(r'status=~"5\.\."|overloaded|outcome="failed"')
# Prefect's own migrations and indexes need the extension pg_trgm, which the tests' Postgres lacks; its tables do not.
MAKE_PREFECT_TABLES = """
import sys
from prefect.server.database.orm_models import Base
from sqlalchemy import create_engine
for table in Base.metadata.tables.values():
    table.indexes.clear()
Base.metadata.create_all(create_engine(sys.argv[1]))
"""
PERIODS: tuple[AccuracyPeriod, ...] = ("day", "week")
ARRIVALS: tuple[LabelArrival, ...] = ("arrived", "review")
OUR_NAMES = re.compile(r"\bonsight_[a-z_]+")


@pytest.fixture(scope="module")
def service(bundle_store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that answered predictions, refused one, and shipped its records."""
    running = ServiceProcess(tmp_path_factory.mktemp("service"), ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url)
    running.start()
    running.deploy(bundle_store.first)
    ask(running)
    wait_until(lambda: 'outcome="shipped"' in scrape(running))
    find_drift(running)
    wait_until(lambda: "onsight_drift_alert_timestamp_seconds{" in scrape(running))
    yield running
    running.kill()


@pytest.fixture(scope="module")
def prometheus(service: ServiceProcess, make_prometheus: Callable[..., PrometheusServer]) -> PrometheusServer:
    server = make_prometheus(dashboards.RULES, dl_service=f"127.0.0.1:{service.port}")
    wait_until(lambda: bool(server.query('up{job="dl_service"} == 1')))
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s or not server.query("rate(onsight_predict_batch_images_count[1m]) > 0"):
        ask(service)
        assert time.monotonic() < until_s + 30, "Prometheus sees no predictions"
    return server


def ask(service: ServiceProcess) -> None:
    for content in (pictures.jpeg(), b"no image"):
        httpx.post(f"{service.url}/predict?explain=heatmap", files={"file": content}, trust_env=False, timeout=30)


def find_drift(service: ServiceProcess) -> None:
    """Writes what a run of the drift monitor writes."""
    now, run_id = datetime.now(UTC), uuid7()
    result = DriftResultRecord(
        run_id, now, "cells", 1, "combined", "permutation", "drift", 9.0, 0.001, 0.01, 500, 200, now, now,
        {"confirmed": True, "cause": "darker"},
    )  # fmt: skip
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    record_drift_results(database, [replace(result, test="uae"), result])
    raise_drift_alert(
        database, DriftAlertRecord(run_id, now, "cells", 1, "darker", "reports/1.html"), timedelta(hours=24)
    )
    database.close()


def scrape(service: ServiceProcess) -> str:
    return httpx.get(f"{service.url}/metrics", trust_env=False).text


def test_our_metrics_when_named_in_dashboards_or_rules_then_are_exposed(service: ServiceProcess) -> None:
    exposed = {re.split(r"[{ ]", line)[0] for line in scrape(service).splitlines() if not line.startswith("#")}
    texts = [path.read_text() for path in (*dashboards.DASHBOARDS, *dashboards.RULES)]
    named = {name for text in texts for name in OUR_NAMES.findall(text)}

    assert len(named) > 15
    assert named - exposed == set()


def test_our_metrics_when_exposed_then_a_dashboard_shows_each(service: ServiceProcess) -> None:
    families = set(re.findall(r"^# TYPE (onsight_\w+)", scrape(service), re.MULTILINE))
    shown = "".join(path.read_text() for path in dashboards.DASHBOARDS)

    assert {name for name in families if name not in shown} == set()


@pytest.mark.parametrize("query", dashboards.promql(), ids=lambda query: str(query.place))
def test_promql_when_asked_of_prometheus_then_answers(query: dashboards.Query, prometheus: PrometheusServer) -> None:
    series = prometheus.query(query.text)

    is_panel_of_ours = ": " in query.place and "onsight_" in query.text
    if is_panel_of_ours and not MAY_BE_EMPTY.search(query.text):
        assert series, query.text


@pytest.fixture(scope="module")
def predictions_url(postgres_server: PostgresServer) -> str:
    """A database with dl_service's tables."""
    url = postgres_server.create_database()
    upgrade(url)
    return url


@pytest.fixture(scope="module")
def measured_url(postgres_server: PostgresServer) -> str:
    """The same with one version's accuracy of this very moment, by day and by week."""
    url, now = postgres_server.create_database(), datetime.now(UTC)
    database = open_database(url)
    upgrade(database)
    base = AccuracyRecord(
        *("cells", 1, "day", now, "all", "", "arrived"),
        *(100, 20, 19, 1, 0.95, 0.76, 0.99, 0.93, True, 1.5, 30.0, now),
    )
    records = [replace(base, period=period, source=source) for period in PERIODS for source in ARRIVALS]
    replace_accuracy(database, "cells", 1, now, records)
    database.close()
    return url


@pytest.fixture(scope="module")
def prefect_url(postgres_server: PostgresServer) -> str:
    """A database with Prefect's tables, in a process of its own: its model of them is changed."""
    url = postgres_server.create_database()
    done = subprocess.run([sys.executable, "-c", MAKE_PREFECT_TABLES, url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return url


def rows(url: str, text: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("query", dashboards.sql("postgres-dl-service"), ids=lambda query: str(query.place))
def test_sql_when_asked_of_the_predictions_then_holds(query: dashboards.Query, predictions_url: str) -> None:
    assert rows(predictions_url, query.text) == []


@pytest.mark.parametrize(
    "query",
    [query for query in dashboards.sql("postgres-dl-service") if " FROM accuracy " in query.text],
    ids=lambda query: str(query.place),
)
def test_sql_when_accuracy_was_measured_then_shows_it(query: dashboards.Query, measured_url: str) -> None:
    shown = rows(measured_url, query.text)

    # Labels that came by themselves, and those of the review queue.
    assert len(shown) == (2 if "source" in query.text.split(" FROM ")[0] else 1)
    assert all(value is not None for row in shown for value in row)


@pytest.mark.parametrize("query", dashboards.sql("postgres-prefect"), ids=lambda query: str(query.place))
def test_sql_when_asked_of_prefect_then_holds(query: dashboards.Query, prefect_url: str) -> None:
    assert rows(prefect_url, query.text) == []


def test_exporter_query_when_a_flow_failed_then_counts_it(prefect_url: str) -> None:
    queries = yaml.safe_load((dashboards.SERVICES / "postgres_exporter" / "queries.yml").read_text())
    text = queries["prefect_flows"]["query"]
    connection = psycopg2.connect(prefect_url)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO flow (name) VALUES ('full') RETURNING id")
        [flow_id] = cursor.fetchone() or [None]
        cursor.execute(
            "INSERT INTO flow_run (flow_id, name, state_type, end_time) VALUES (%s, 'a', 'FAILED', now()), "
            "(%s, 'b', 'CRASHED', now() - interval '2 hours'), (%s, 'c', 'COMPLETED', now())",
            [flow_id] * 3,
        )
        cursor.execute(text)
        counted = cursor.fetchall()
        names = [column.name for column in cursor.description or ()]
    connection.close()

    assert counted == [("full", 1, 1, 0)]
    assert names == [name for metric in queries["prefect_flows"]["metrics"] for name in metric]


@pytest.mark.parametrize("path", dashboards.DASHBOARDS, ids=lambda path: str(path.stem))
def test_dashboard_when_provisioned_then_its_sources_exist_and_no_panel_lies_over_another(path: Path) -> None:
    provisioning = dashboards.SERVICES / "grafana" / "provisioning" / "datasources" / "onsight.yml"
    sources = {source["uid"]: source for source in yaml.safe_load(provisioning.read_text())["datasources"]}
    dashboard = json.loads(path.read_text())

    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert sources[target["datasource"]["uid"]]["type"] == target["datasource"]["type"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_dashboards_when_read_then_have_names_of_their_own() -> None:
    uids = [json.loads(path.read_text())["uid"] for path in dashboards.DASHBOARDS]

    assert len(uids) == len(set(uids)) == 5
