"""What stands in the alert rules and dashboards, for the tests that run it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

SERVICES = Path(__file__).parents[2] / "services"
DASHBOARDS = sorted((SERVICES / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((SERVICES / "prometheus" / "rules").glob("*.yml"))

# What a person looks at, unless the panel has a span of its own.
_SPAN = "15m"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Query(NamedTuple):
    """One query of a dashboard or rule, and where it stands."""

    place: str
    source: str
    text: str


def rules() -> list[dict[str, Any]]:
    """Every alert rule."""
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels, without the rows between them."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Every query, with Grafana's variables and macros put in."""
    return list(_queries())


def promql() -> list[Query]:
    """Those for Prometheus, of rules and dashboards."""
    return [query for query in queries() if query.source == "prometheus"]


def sql(source: str) -> list[Query]:
    """Those for one Postgres data source."""
    return [query for query in queries() if query.source == source]


def _queries() -> Iterator[Query]:
    for rule in rules():
        yield Query(rule["alert"], "prometheus", rule["expr"])
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        names = [variable["name"] for variable in dashboard["templating"]["list"]]
        for panel in panels(dashboard):
            for target in panel["targets"]:
                place, source = f"{path.stem}: {panel['title']}", target["datasource"]["uid"]
                if "expr" in target:
                    yield Query(place, source, _put_variables(target["expr"], names))
                else:
                    yield Query(place, source, _put_sql_macros(target["rawSql"], panel.get("timeFrom")))


def _put_variables(text: str, names: list[str]) -> str:
    for name in names:
        text = text.replace(f"${name}", ".*")
    return text.replace("$__rate_interval", "1m").replace("$__range", _SPAN)


def _put_sql_macros(text: str, own_span: str | None) -> str:
    span = own_span or _SPAN
    start = f"now() - interval '{int(span[:-1]) * _SECONDS[span[-1]]} seconds'"
    text = re.sub(r"\$__timeFilter\(([^()]+)\)", rf"(\1 BETWEEN {start} AND now())", text)
    return re.sub(r"\$__timeGroupAlias\(([^,()]+), '(\d+)([smhd])'\)", _group, text)


def _group(match: re.Match[str]) -> str:
    seconds = int(match[2]) * _SECONDS[match[3]]
    return f'to_timestamp(floor(extract(epoch FROM {match[1]}) / {seconds}) * {seconds}) AS "time"'
