"""The web page behind Nginx, in a real Chromium with a real upload."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.chromium import Chromium
from tests.servers.dl_service import wait_until
from tests.servers.stack import Stack

SCREENSHOT = ".onsight/test-stack/web-page.png"


@pytest.mark.usefixtures("served_model")
def test_a_visitor_uploads_an_image_and_sees_the_answer(
    stack: Stack, chromium: Chromium, photograph: bytes, tmp_path: Path, repository: Path
) -> None:
    picture = tmp_path / "cell.png"
    picture.write_bytes(photograph)
    page = chromium.new_page()
    page.look(width=1000)
    page.open(f"{stack.url}/ui/")

    page.choose_file("#file", picture)
    page.wait_for("!document.querySelector('#result').hidden && !document.querySelector('#result.stale')")

    query = f"SELECT top_class FROM predictions WHERE prediction_id = '{page.text('#prediction-id')}'"
    wait_until(lambda: stack.rows(query) != "")
    assert page.text("#classes .top .name") == stack.rows(query)
    assert page.text("#model").startswith("elpv, version ")
    assert page.evaluate("document.querySelector('#heatmap').src").startswith("data:image/")
    assert page.complaints == []
    (repository / SCREENSHOT).parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(repository / SCREENSHOT)


@pytest.mark.usefixtures("served_model")
def test_the_page_may_predict_and_nothing_else(stack: Stack, photograph: bytes) -> None:
    with stack.client() as visitor:
        page = visitor.get("/", follow_redirects=True)
        answer = visitor.post("/web/predict?explain=heatmap", content=photograph)
        refused = visitor.put("/web/update_model/none-v1.yaml")

    assert page.headers["content-type"].startswith("text/html")
    assert answer.json()["raw_hm_img"]
    assert refused.status_code == 404
