"""The web page in a real Chromium, with a real dl_service behind it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from onsight.db import create_api_key, open_database
from onsight.deployment import DeployClient
from tests.servers import pictures
from tests.servers.bundle import BundleStore, publish_small, write_small_graph
from tests.servers.chromium import Chromium, Page
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.web_page import STATIC

ANSWERED = "!document.querySelector('#result').hidden && !document.querySelector('#result.stale')"
REFUSED = "!document.querySelector('#problem').hidden"


@pytest.fixture(scope="module")
def service(bundle_store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    running = ServiceProcess(tmp_path_factory.mktemp("service"), ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url)
    running.start()
    running.deploy(bundle_store.first)
    yield running
    running.kill()


@pytest.fixture
def page(chromium: Chromium, service: ServiceProcess, serve_page: Callable[[str], str]) -> Page:
    """A new visitor on the page."""
    visitor = chromium.new_page()
    visitor.look(width=1000)
    visitor.open(serve_page(service.url))
    return visitor


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photograph-like JPEG."""
    path = tmp_path / "cell 7 <b>.jpg"
    path.write_bytes(pictures.jpeg(seed=4, width=640, height=480))
    return path


@pytest.fixture
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the page are kept: ``ONSIGHT_SCREENSHOTS``, or a temporary folder."""
    folder = Path(os.environ.get("ONSIGHT_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_upload_when_answered_then_shows_what_the_api_says(
    page: Page, service: ServiceProcess, picture: Path, screenshots: Path
) -> None:
    page.choose_file("#file", picture)
    page.wait_for(ANSWERED)

    files = {"file": picture.read_bytes()}
    direct = httpx.post(f"{service.url}/predict?explain=heatmap", files=files, trust_env=False, timeout=30).json()
    shown = page.evaluate(
        "[...document.querySelectorAll('#classes li')].map(row => [...row.children].map(p => p.textContent))"
    )
    ranked = sorted(direct["prediction"].items(), key=lambda item: -item[1])
    assert page.text("#answer") == direct["message"]
    assert page.text("#classes .top .name") == direct["top_class"]
    assert [row[:2] for row in shown] == [[name, f"{100 * share:.1f} %"] for name, share in ranked]
    assert page.text("#model") == f"{direct['model_name']}, version {direct['model_version']}"
    assert page.text("#file-name") == picture.name
    assert page.evaluate("document.querySelector('#heatmap').src").endswith(direct["raw_hm_img"])
    assert page.complaints == []
    for width, is_dark, name in ((1000, False, "light"), (1000, True, "dark"), (375, False, "phone")):
        page.look(width=width, is_dark=is_dark)
        page.screenshot(screenshots / f"{name}.png")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"


def test_upload_when_answered_then_its_prediction_id_is_on_record(
    page: Page, service: ServiceProcess, picture: Path
) -> None:
    page.choose_file("#file", picture)
    page.wait_for(ANSWERED)

    prediction_id = page.text("#prediction-id")
    answer = httpx.get(f"{service.url}/predictions/{prediction_id}", trust_env=False)
    assert answer.json()["top_class"] == page.text("#classes .top .name")


def test_opacity_slider_when_moved_by_keyboard_then_the_heat_map_follows(page: Page, picture: Path) -> None:
    page.choose_file("#file", picture)
    page.wait_for(ANSWERED)

    page.evaluate("document.querySelector('#opacity').focus()")
    for _ in range(5):
        page.press("ArrowRight")

    assert page.text("#opacity-value") == "55 %"
    assert page.evaluate("getComputedStyle(document.querySelector('#heatmap')).opacity") == "0.55"


def test_tab_key_when_the_page_is_new_then_reaches_the_file_input_visibly(page: Page) -> None:
    page.press("Tab")

    assert page.evaluate("document.activeElement.id") == "file"
    assert page.evaluate("getComputedStyle(document.querySelector('#drop')).outlineStyle") == "solid"


def test_upload_when_it_is_no_image_then_shows_the_problem_and_recovers(
    page: Page, tmp_path: Path, picture: Path, screenshots: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("this is no image")

    page.choose_file("#file", text)
    page.wait_for(REFUSED)

    assert page.text("#problem-title") == "The image cannot be read"
    assert page.text("#problem-hint")
    assert "unreadable_image" in page.text("#problem-id")
    assert page.evaluate("document.querySelector('#result').hidden")
    assert page.evaluate("document.querySelector('#again').hidden")  # it would be refused again
    page.screenshot(screenshots / "error.png")
    page.choose_file("#file", picture)
    page.wait_for(ANSWERED)
    assert page.evaluate("document.querySelector('#problem').hidden")


def test_upload_when_the_browser_cannot_show_the_format_then_says_so(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "cell.tiff"
    path.write_bytes(pictures.encode(Image.fromarray(pictures.pixels()), "TIFF"))

    page.choose_file("#file", path)
    page.wait_for(f"{ANSWERED} && !document.querySelector('#unshown').hidden")

    assert "cannot show" in page.text("#unshown")


def test_drop_when_a_file_falls_on_the_page_then_it_is_uploaded(page: Page) -> None:
    page.evaluate(
        """new Promise(done => {
          const canvas = document.createElement('canvas');
          canvas.width = canvas.height = 64;
          canvas.getContext('2d').fillRect(0, 0, 32, 64);
          canvas.toBlob(blob => {
            const data = new DataTransfer();
            data.items.add(new File([blob], 'dropped.png', { type: 'image/png' }));
            document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
            done(true);
          });
        })"""
    )
    page.wait_for(ANSWERED)

    assert page.text("#file-name") == "dropped.png"


def test_upload_when_the_service_is_down_then_says_so_and_can_be_tried_again(
    chromium: Chromium, make_service: Callable[..., ServiceProcess], bundle_store: BundleStore,
    serve_page: Callable[[str], str], picture: Path,
) -> None:  # fmt: skip
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url)
    service.start()
    service.deploy(bundle_store.first)
    page = chromium.new_page()
    page.open(serve_page(service.url))
    service.kill()

    page.choose_file("#file", picture)
    page.wait_for(REFUSED)
    assert page.text("#problem-title") == "The server answered 502"

    service.start()
    page.wait_for("document.querySelector('#again').click() === undefined")
    page.wait_for(ANSWERED)


def test_upload_when_the_version_cannot_be_explained_then_shows_its_classes_and_why(
    chromium: Chromium, make_service: Callable[..., ServiceProcess], own_bundle_store: BundleStore,
    serve_page: Callable[[str], str], picture: Path, tmp_path: Path,
) -> None:  # fmt: skip
    old = publish_small(Path(own_bundle_store.url), 4, tmp_path, _write_graph_of_before_explanations)
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=own_bundle_store.url)
    service.start()
    service.deploy(old)
    page = chromium.new_page()
    page.open(serve_page(service.url))

    page.choose_file("#file", picture)
    page.wait_for(ANSWERED)

    assert page.evaluate("document.querySelectorAll('#classes li').length") == len(own_bundle_store.classes)
    assert "before answers could be explained" in page.text("#why-not")
    assert page.evaluate("document.querySelector('#heatmap').hidden")


def test_upload_when_a_key_is_needed_then_asks_for_it_and_keeps_it_in_the_tab(
    chromium: Chromium, make_service: Callable[..., ServiceProcess], bundle_store: BundleStore,
    serve_page: Callable[[str], str], picture: Path, screenshots: Path,
) -> None:  # fmt: skip
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_REQUIRE_API_KEYS="true")
    service.start()
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    deploy_key, _ = create_api_key(database, "deploy", ["admin"])
    key, _ = create_api_key(database, "page", ["predict"])
    database.close()
    headers = {"Authorization": f"Bearer {key}"}
    wait_until(lambda: httpx.get(f"{service.url}/models", headers=headers, trust_env=False).is_success)
    with DeployClient(service.url, api_key=SecretStr(deploy_key)) as client:
        client.update_model(bundle_store.first)
    url = serve_page(service.url)
    page = chromium.new_page()
    page.look(width=1000)
    page.open(url)
    page.wait_for("!document.querySelector('#key-form').hidden")

    page.choose_file("#file", picture)
    page.wait_for(REFUSED)
    assert page.text("#problem-title") == "A valid API key is needed"
    page.screenshot(screenshots / "key.png")
    page.evaluate("document.querySelector('#key').focus()")
    page.type(key)
    page.press("Enter")
    page.wait_for(ANSWERED)

    assert page.evaluate("document.querySelector('#key-form').hidden")
    assert (
        page.evaluate("JSON.stringify([localStorage.length, document.cookie, document.querySelector('#key').value])")
        == '[0,"",""]'
    )
    other = chromium.new_page()
    other.open(url)
    other.wait_for("!document.querySelector('#key-form').hidden")  # another visitor has no key, and sees no answer
    assert other.evaluate("document.querySelector('#result').hidden")


def test_page_when_read_then_holds_nothing_inline_and_nothing_from_elsewhere() -> None:
    html = (STATIC / "index.html").read_text()
    everything = html + (STATIC / "app.js").read_text() + (STATIC / "style.css").read_text()

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    assert not re.search(r"https?://|url\(|@import|innerHTML|localStorage|document\.cookie", everything)


def _write_graph_of_before_explanations(path: Path, seed: int) -> None:
    write_small_graph(path, seed, with_feature_maps=False)
