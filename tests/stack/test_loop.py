"""The loop: quiet traffic, a camera that goes bad, an alert, labels by a person, a training by policy, a swap."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageEnhance

from tests.servers import pictures
from tests.servers.chromium import Chromium, Page
from tests.servers.dl_service import wait_until
from tests.servers.stack import QUICK, Stack, run_config, run_deployment
from tests.servers.webhook import WebhookServer

# The containers reach it; tests/stack/alert_webhook_url names the port.
WEBHOOK = ("0.0.0.0", 18099)
WINDOW, LABELS = 150, 10
# The monitor's runs come every two minutes, and take some of one.
RUN_S = 300
SCREENSHOTS = Path(".onsight/test-stack")
LOADED = "document.querySelector('#image').naturalWidth > 0 && !document.querySelector('#result.stale')"
Change = Callable[[Image.Image], Image.Image]


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    """Where Alertmanager sends what Prometheus found."""
    server = WebhookServer(WEBHOOK)
    yield server
    server.close()


@pytest.fixture
def photographs(repository: Path) -> list[Path]:
    """Validation images, which neither the network's weights nor the drift reference have seen, in a mix."""
    paths = sorted((repository / "datasets/elpv/images/valid").rglob("*.png"))
    return random.Random(7).sample(paths, WINDOW)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("flow_run")
def test_bad_camera_is_confirmed_told_labelled_and_trained_on(
    stack: Stack, webhook: WebhookServer, photographs: list[Path], chromium: Chromium, repository: Path
) -> None:
    served = set(stack.serving().values())
    monitor = ('deploy.prefect.cron="*/2 * * * *"', f"deploy.prefect.monitor.window.max_rows={WINDOW}")
    run_config(stack, "jupyter", "deploy", *monitor)

    classes = send(stack, photographs)
    assert next_verdict(stack) == ("no drift", "false")
    assert alerts(webhook) == []

    classes |= send(stack, photographs, bad_camera)
    assert next_verdict(stack)[0] == "drift"
    classes |= send(stack, photographs[:20], bad_camera)
    assert next_verdict(stack) == ("drift", "true")
    wait_until(lambda: alerts(webhook) != [], timeout_s=240)
    labels = alerts(webhook)[0]["labels"]
    assert "image properties: brightness" in labels["cause"]
    page = stack.compose("exec", "-T", "dl_service", "cat", labels["report"])
    assert "Verdict: <strong>drift</strong>" in page
    (repository / SCREENSHOTS / "drift-report.html").write_text(page)

    run_config(stack, "jupyter", "review", f"review.budget={LABELS}")
    label(stack, chromium, classes)
    train_by_policy(stack)

    outcome, tag = stack.rows("SELECT outcome, dataset_tag FROM retraining_decisions ORDER BY seq DESC LIMIT 1").split(
        "|"
    )
    assert (outcome.partition(":")[0], tag) == ("promoted", "v2.1.0")
    assert set(stack.serving().values()) == {outcome.removeprefix("promoted: ")}
    assert set(stack.serving().values()) != served
    check_charts(stack, labels["cause"])


def bad_camera(image: Image.Image) -> Image.Image:
    """Its light is failing."""
    return ImageEnhance.Brightness(image.convert("L")).enhance(0.5)


def send(stack: Stack, paths: Sequence[Path], change: Change | None = None) -> dict[str, str]:
    """Predictions of the images, in the database when this returns; the true class of each, by its id."""
    classes = {}
    with stack.client("web_api_key") as door:
        for path in paths:
            answer = door.post("/predict", content=path.read_bytes() if change is None else changed(path, change))
            classes[answer.raise_for_status().json()["prediction_id"]] = path.parent.name
    query = f"SELECT count(*) FROM predictions WHERE prediction_id = '{[*classes][-1]}'"
    wait_until(lambda: stack.rows(query) == "1")
    return classes


def changed(path: Path, change: Change) -> bytes:
    with Image.open(path) as image:
        return pictures.encode(change(image), "PNG")


def next_verdict(stack: Stack) -> tuple[str, str]:
    """Of the first scheduled run that judges everything that was sent, and whether it is confirmed."""
    newest = stack.rows("SELECT max(created_at) FROM predictions")
    query = (
        "SELECT verdict, details->>'confirmed' FROM drift_results WHERE test = 'combined'"
        f" AND window_end >= '{newest}' ORDER BY seq LIMIT 1"
    )
    wait_until(lambda: stack.rows(query) != "", timeout_s=RUN_S)
    verdict, _, confirmed = stack.rows(query).partition("|")
    return verdict, confirmed


def alerts(webhook: WebhookServer) -> list[dict[str, Any]]:
    posted = [alert for post in webhook.posts for alert in post["alerts"]]
    return [alert for alert in posted if alert["labels"]["alertname"] == "DriftConfirmed"]


def label(stack: Stack, chromium: Chromium, classes: dict[str, str]) -> None:
    """A person with a key of their own works the whole queue off, by keyboard."""
    scopes = ("--scope", "predict", "--scope", "feedback")
    key = stack.compose(
        "exec", "-T", "dl_service", "python", "-m", "services.dl_service.keys", "create", "--name", "ann", *scopes
    )
    wait_until(lambda: _is_valid_everywhere(stack, key.split()[-1]), timeout_s=30)
    page = chromium.new_page()
    page.look(width=1000)
    page.open(f"{stack.url}/ui/review.html")
    page.wait_for("!document.querySelector('#key-form').hidden")
    page.evaluate("document.querySelector('#key').focus()")
    page.type(key.split()[-1])
    page.press("Enter")
    for done in range(LABELS):
        page.wait_for(f"{LOADED} && document.querySelector('#progress-text').textContent.startsWith('{done} done')")
        if done == 0:
            page.screenshot(SCREENSHOTS / "review-page.png")
        page.press(_key_of(page, classes[page.text("#prediction-id")]))
    page.wait_for("!document.querySelector('#empty').hidden")
    # The key of the web pages may not review; Chromium notes that refusal.
    assert [text for text in page.complaints if "a status of 403" not in text] == []


def _is_valid_everywhere(stack: Stack, key: str) -> bool:
    """Each worker reads the keys anew every two seconds; no request says which of them is to answer."""
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{stack.url}/review?limit=1"
    return all(httpx.get(url, headers=headers, trust_env=False, timeout=30).is_success for _ in range(10))


def _key_of(page: Page, name: str) -> str:
    shown = page.evaluate("[...document.querySelectorAll('#choices button')].map(b => b.textContent)")
    return next(str(text).split()[0] for text in shown if str(text).endswith(name))


def train_by_policy(stack: Stack) -> None:
    """Schedules the policy, and has the worker ask it now instead of within the hour."""
    policy = ("retraining.when=all", f"retraining.new_labels={LABELS}", "retraining.allowed_hours=[0, 24]")
    run_config(stack, "jupyter", "retrain", *policy, *QUICK, options=("--schedule",))
    run_deployment(stack, "retrain/scheduled", timeout_s=900)


def check_charts(stack: Stack, cause: str) -> None:
    """What the dashboards Drift and Model draw."""
    told = stack.prometheus("query", query="onsight_drift_alert_timestamp_seconds")["result"]
    assert cause in {series["metric"]["cause"] for series in told}
    bundle = next(iter(stack.serving().values()))

    def shown() -> set[str]:
        series = stack.prometheus("query", query="onsight_model_served == 1")["result"]
        return {f"{found['metric']['model']}-v{found['metric']['version']}" for found in series}

    wait_until(lambda: bundle in shown(), timeout_s=60)
    labelled = "SELECT coalesce(max(n_labelled), 0) FROM accuracy WHERE group_by = 'all'"
    wait_until(lambda: int(stack.rows(labelled)) >= LABELS, timeout_s=RUN_S)
