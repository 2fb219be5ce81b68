"""Alert rules and Alertmanager's configuration, checked by Prometheus' own tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.servers import dashboards

HERE = Path(__file__).parent


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        package = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}.get(command[0], command[0])
        pytest.skip(f"{command[0]} is not installed: apt-get install {package}")
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=180
    )


def test_prometheus_config_when_checked_by_promtool_then_holds() -> None:
    checked = run("promtool", "check", "config", str(dashboards.SERVICES / "prometheus" / "prometheus.yml"))

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rules_when_series_are_played_to_them_then_fire_and_stay_silent_as_written() -> None:
    tested = run("promtool", "test", "rules", str(HERE / "rules_test.yml"))

    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("rule", dashboards.rules(), ids=lambda rule: str(rule["alert"]))
def test_rule_when_it_fires_then_says_what_to_do(rule: dict[str, dict[str, str]], repository: Path) -> None:
    page = repository / rule["annotations"]["runbook_url"]

    text = page.read_text()
    assert str(rule["alert"]) in text.splitlines()[0]
    assert "## Check" in text
    assert "## Do" in text
    assert page.name in (page.parent / "README.md").read_text()
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize("rule", dashboards.rules(), ids=lambda rule: str(rule["alert"]))
def test_rule_when_read_then_has_a_unit_test(rule: dict[str, str]) -> None:
    assert re.search(rf"\b{rule['alert']}\b", (HERE / "rules_test.yml").read_text())


def test_alerts_when_an_inhibition_names_them_then_exist() -> None:
    config = yaml.safe_load((dashboards.SERVICES / "alertmanager" / "alertmanager.yml").read_text())
    matchers = " ".join(str(rule) for rule in config["inhibit_rules"])
    named = set(re.findall(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+", matchers))

    assert named <= {rule["alert"] for rule in dashboards.rules()}


@pytest.mark.parametrize(
    ("settings", "receivers"),
    [
        ({}, ()),
        ({"webhook": "https://chat.example/hook?a='b'"}, ("webhook_configs",)),
        (
            {"ALERT_MAIL_TO": "team@plant.example", "ALERT_MAIL_FROM": "a@b.example", "ALERT_SMTP_HOST": "mail:587"},
            ("email_configs",),
        ),
    ],
    ids=["none", "webhook", "mail"],
)
def test_alertmanager_when_started_then_has_the_receivers_of_the_settings(
    settings: dict[str, str], receivers: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(settings.get("webhook", "") + "\n")

    started = start_alertmanager(tmp_path, **{name: value for name, value in settings.items() if name != "webhook"})

    assert started.returncode == 0, started.stderr
    rendered = tmp_path / "rendered.yml"
    config = yaml.safe_load(rendered.read_text())
    assert tuple(name for name in config["receivers"][0] if name != "name") == receivers
    assert ("alerts reach nobody" in started.stderr) == (not receivers)
    assert rendered.stat().st_mode & 0o077 == 0
    if "webhook" in settings:
        assert config["receivers"][0]["webhook_configs"][0]["url"] == settings["webhook"]
    checked = run("amtool", "check-config", str(rendered))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("settings", "url", "said"),
    [({}, "not a URL", "holds no URL"), ({"ALERT_MAIL_TO": "a@b.example"}, "", "ALERT_MAIL_FROM is not")],
    ids=["no-url", "half-a-mail"],
)
def test_alertmanager_when_a_setting_is_wrong_then_refuses_and_says_which(
    settings: dict[str, str], url: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(url)

    started = start_alertmanager(tmp_path, **settings)

    assert started.returncode == 2
    assert said in started.stderr


def start_alertmanager(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs start.sh up to the program, for which `true` stands in."""
    room = dashboards.SERVICES / "alertmanager"
    return run(
        "sh",
        str(room / "start.sh"),
        ALERTMANAGER_BASE=str(room / "alertmanager.yml"),
        ALERTMANAGER_RENDERED=str(folder / "rendered.yml"),
        ALERTMANAGER_PROGRAM="true",
        ALERT_WEBHOOK_URL_FILE=str(folder / "url"),
        **settings,
    )
