"""Prometheus' targets, and every query of rules and dashboards, answered by the stack's own servers with data.

What is asked about drift and labels was left behind by ``test_loop.py``, which runs before, and is as slow therefore.
"""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
import pytest
import yaml

from tests.servers import dashboards
from tests.servers.dl_service import wait_until
from tests.servers.stack import Stack

# They speak of what did not happen here: no server error, no request turned away, no failed swap or flow.
_MAY_BE_EMPTY = re.compile(r'status=~"5\.\."|overloaded|outcome="failed"|run\.state_type IN \(')
_OF_CONTAINERS = "container_"
_OF_THE_LOOP = re.compile(r"drift|accuracy")
_OF_AN_ALERT = "onsight_drift_alert_timestamp_seconds"
_METRIC = re.compile(r"\b(?:onsight|node|nginx|pg|prefect)_[a-z0-9_]+\b|\bup\b")


def _params(queries: list[dashboards.Query]) -> list[Any]:
    return [
        pytest.param(query, id=query.place, marks=pytest.mark.slow if _OF_THE_LOOP.search(query.text) else ())
        for query in queries
    ]


@pytest.fixture(scope="module")
def traffic(stack: Stack, photograph: bytes, served_model: object) -> None:
    """Predictions for longer than a rate looks back, some explained, some refused."""
    with stack.client("deploy_api_key") as door:
        until_s = time.monotonic() + 75
        while time.monotonic() < until_s or not _series(stack, "rate(onsight_predict_batch_images_count[1m]) > 0"):
            door.post("/predict?explain=heatmap", content=photograph).raise_for_status()
            assert door.post("/predict", content=b"no image").is_client_error
            assert time.monotonic() < until_s + 60, "Prometheus sees no predictions"
            time.sleep(0.1)


def test_every_target_is_up_but_the_named_gaps(stack: Stack) -> None:
    config = yaml.safe_load((dashboards.SERVICES / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in config["scrape_configs"]}

    def down() -> set[str]:
        targets = stack.prometheus("targets", state="active")["activeTargets"]
        assert {target["labels"]["job"] for target in targets} == jobs
        return {target["labels"]["job"] for target in targets if target["health"] != "up"}

    wait_until(lambda: down() <= stack.gaps, timeout_s=60)


@pytest.mark.usefixtures("traffic")
def test_every_rule_is_judged_without_an_error(stack: Stack) -> None:
    groups = stack.prometheus("rules")["groups"]
    judged = {rule["name"]: rule for group in groups for rule in group["rules"]}

    assert set(judged) == {rule["alert"] for rule in dashboards.rules()}
    assert {name: rule.get("lastError") for name, rule in judged.items() if rule["health"] != "ok"} == {}


@pytest.mark.usefixtures("traffic")
def test_every_metric_that_a_rule_names_has_data(stack: Stack) -> None:
    named = {name for rule in dashboards.rules() for name in _METRIC.findall(re.sub(r'".*?"', "", rule["expr"]))}

    assert len(named) > 10
    assert {name for name in named - {_OF_AN_ALERT} if not _series(stack, name)} == set()


@pytest.mark.slow
def test_the_metric_of_a_drift_alert_has_data(stack: Stack) -> None:
    assert _series(stack, _OF_AN_ALERT)


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize("query", _params([query for query in dashboards.promql() if ": " in query.place]))
def test_a_query_of_a_dashboard_gives_data(query: dashboards.Query, stack: Stack) -> None:
    may_be_empty = _MAY_BE_EMPTY.search(query.text) or (_OF_CONTAINERS in query.text and "cadvisor" in stack.gaps)
    assert _series(stack, query.text) or may_be_empty, query.text


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize(
    "query", _params([query for query in dashboards.queries() if query.source.startswith("postgres-")])
)
def test_a_query_of_the_databases_gives_rows_to_the_reader(query: dashboards.Query, stack: Stack) -> None:
    database = query.source.removeprefix("postgres-").replace("-", "_")
    assert stack.rows(query.text, database) or _MAY_BE_EMPTY.search(query.text), query.text


def test_the_reader_may_not_write(stack: Stack) -> None:
    reader = ("exec", "-T", "-e", "PGPASSFILE=/run/secrets/reader_database", "postgres", "psql", "-h", "127.0.0.1")
    done = stack.run(*reader, "-U", "reader", "-d", "dl_service", "-c", "DELETE FROM predictions")
    assert done.returncode != 0
    assert "permission denied" in done.stderr


def test_alertmanager_knows_prometheus_and_the_other_pages_answer(stack: Stack) -> None:
    assert stack.prometheus("alertmanagers")["activeAlertmanagers"]
    answers = {
        name: httpx.get(f"{stack.door(name)}{path}", trust_env=False, timeout=30, follow_redirects=True).status_code
        for name, path in (("ALERTMANAGER", "/-/ready"), ("GRAFANA", "/api/health"), ("PGADMIN", "/login"))
        if name.lower() not in stack.gaps - {"grafana"}
    }
    assert set(answers.values()) == {200}, answers


def test_grafana_is_given_what_the_repository_holds(stack: Stack) -> None:
    shown = stack.compose(
        "exec", "-T", "grafana", "sh", "-c", "ls /etc/grafana/dashboards; cat /run/secrets/*_password"
    )
    assert all(path.name in shown for path in dashboards.DASHBOARDS)
    assert stack.secret("reader_password") in shown


def _series(stack: Stack, expression: str) -> list[Any]:
    return list(stack.prometheus("query", query=expression)["result"])
