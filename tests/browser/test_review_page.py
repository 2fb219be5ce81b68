"""The review page in a real Chromium, with a real dl_service and its queue behind it."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from PIL import Image

from onsight.config import ReviewConfig
from onsight.db import (
    Database,
    ReviewItem,
    add_review_items,
    create_api_key,
    find_prediction,
    find_review_item,
    open_database,
    read_opinions,
)
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.review import fill_review_queue
from onsight.settings import Settings
from onsight.storage import open_store
from tests.servers import pictures
from tests.servers.bundle import CLASSES, BundleStore, publish_small
from tests.servers.chromium import Chromium, Page
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.web_page import STATIC

LOADED = "document.querySelector('#image').naturalWidth > 0 && !document.querySelector('#result.stale')"
EXPLAINED = f"{LOADED} && document.querySelector('#heatmap').naturalWidth > 0"
EMPTY = "!document.querySelector('#empty').hidden"
REFUSED = "!document.querySelector('#problem').hidden"


@pytest.fixture
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the page are kept: ``ONSIGHT_SCREENSHOTS``, or a temporary folder."""
    folder = Path(os.environ.get("ONSIGHT_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def service(bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    running = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url)
    running.start()
    running.deploy(bundle_store.first)
    return running


@pytest.fixture
def database(service: ServiceProcess) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    yield opened
    opened.close()


def predict(service: ServiceProcess, content: bytes, **headers: str) -> str:
    answer = httpx.post(f"{service.url}/predict", content=content, headers=headers, trust_env=False, timeout=30)
    return str(answer.json()["prediction_id"])


def put_in_queue(service: ServiceProcess, database: Database, *contents: bytes) -> list[str]:
    """Predictions that wait for review, in the order in which the page shows them."""
    names = [predict(service, content) for content in contents]
    for place, name in enumerate(names):
        wait_until(lambda name=name: find_prediction(database, name) is not None)  # type: ignore[misc]
        item = ReviewItem(name, "cells", 1, "uncertain", 1 - place / 100, datetime(2026, 3, 1, tzinfo=UTC))
        add_review_items(database, [item])
    return names


def visit(chromium: Chromium, url: str) -> Page:
    page = chromium.new_page()
    page.look(width=1000)
    page.open(f"{url}review.html")
    return page


def shown_id(page: Page) -> str:
    return page.text("#prediction-id")


def test_queue_when_worked_through_by_keys_then_labels_and_skips(
    chromium: Chromium, service: ServiceProcess, database: Database, serve_page: Callable[[str], str],
    screenshots: Path,
) -> None:  # fmt: skip
    names = put_in_queue(service, database, *(pictures.jpeg(seed, 640, 480) for seed in range(3)))
    page = visit(chromium, serve_page(service.url))
    page.wait_for(EXPLAINED)

    logged = httpx.get(f"{service.url}/predictions/{names[0]}", trust_env=False).json()
    ranked = sorted(logged["prediction"].items(), key=lambda item: -item[1])
    rows = page.evaluate(
        "[...document.querySelectorAll('#classes li')].map(row => [...row.children].map(p => p.textContent))"
    )
    assert shown_id(page) == names[0]
    assert [row[:2] for row in rows] == [[name, f"{100 * share:.1f} %"] for name, share in ranked]
    assert page.evaluate("[...document.querySelectorAll('#choices button')].map(b => b.textContent)") == [
        f"{place} {name}" for place, name in enumerate(CLASSES, start=1)
    ]
    assert page.evaluate(
        "[image, heatmap].map(e => [e.naturalWidth, e.naturalHeight, e.clientWidth === stage.clientWidth])"
    ) == [[640, 480, True], [640, 480, True]]
    assert page.text("#progress-text") == "0 done, 3 to go"
    for width, is_dark, name in ((1000, False, "light"), (1000, True, "dark"), (375, False, "phone")):
        page.look(width=width, is_dark=is_dark)
        page.screenshot(screenshots / f"review-{name}.png")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
    page.look(width=1000)

    page.press("2")
    page.wait_for(f"document.querySelector('#prediction-id').textContent === '{names[1]}' && {LOADED}")
    assert page.text("#note") == f"Labelled {CLASSES[1]}."
    page.press("s")
    page.wait_for(f"document.querySelector('#prediction-id').textContent === '{names[2]}' && {LOADED}")
    assert page.text("#note") == "Skipped."
    assert page.text("#progress-text") == "2 done, 1 to go"
    page.press("3")
    page.wait_for(EMPTY)

    found = [find_review_item(database, name) for name in names]
    assert [item.status for item in found if item] == ["labelled", "skipped", "labelled"]
    assert [[o.labels for o in read_opinions(database, name)] for name in names] == [
        [(CLASSES[1],)], [], [(CLASSES[2],)],
    ]  # fmt: skip
    assert page.text("#progress-text") == "3 done, 0 to go"
    assert page.complaints == []
    page.screenshot(screenshots / "review-empty.png")


def test_item_of_the_flow_when_shown_then_is_one_that_the_model_hesitates_about(
    chromium: Chromium, service: ServiceProcess, database: Database, bundle_store: BundleStore,
    serve_page: Callable[[str], str],
) -> None:  # fmt: skip
    from onsight.bundle import read_metadata

    answers = {predict(service, pictures.jpeg(seed)): seed for seed in range(8)}
    wait_until(lambda: all(find_prediction(database, name) for name in answers))
    archive = ImageArchive(service.state_dir / "dl_service" / "images", ArchivePolicy())
    metadata = read_metadata(open_store(Settings(central_storage_url=bundle_store.url)), bundle_store.first)
    fill_review_queue(database, archive, metadata, ReviewConfig(budget=1))
    page = visit(chromium, serve_page(service.url))
    page.wait_for(LOADED)

    margins = {}
    for name in answers:
        record = find_prediction(database, name)
        assert record is not None
        second, first = sorted(record.probabilities)[-2:]
        margins[name] = first - second
    assert shown_id(page) == min(margins, key=lambda name: margins[name])
    assert page.text("#reason") == "The model hesitates between its classes"


def test_opacity_slider_when_moved_by_keyboard_then_the_heat_map_follows_and_nothing_is_labelled(
    chromium: Chromium, service: ServiceProcess, database: Database, serve_page: Callable[[str], str]
) -> None:
    (name,) = put_in_queue(service, database, pictures.jpeg())
    page = visit(chromium, serve_page(service.url))
    page.wait_for(EXPLAINED)

    page.evaluate("document.querySelector('#opacity').focus()")
    for _ in range(5):
        page.press("ArrowRight")

    assert page.evaluate("getComputedStyle(document.querySelector('#heatmap')).opacity") == "0.55"
    assert shown_id(page) == name


def test_name_when_typed_then_labels_nothing_and_stands_in_the_record(
    chromium: Chromium, service: ServiceProcess, database: Database, serve_page: Callable[[str], str]
) -> None:
    (name,) = put_in_queue(service, database, pictures.jpeg())
    page = visit(chromium, serve_page(service.url))
    page.wait_for(LOADED)

    page.evaluate("document.querySelector('#who').focus()")
    for key in ("s", "1"):
        page.press(key)
    assert shown_id(page) == name
    page.evaluate("document.querySelector('#who').blur()")
    page.press("1")
    page.wait_for(EMPTY)

    (opinion,) = read_opinions(database, name)
    assert (opinion.labels, opinion.labelled_by) == ((CLASSES[0],), "s1")


def test_two_people_when_both_see_one_item_then_the_second_is_told_and_goes_on(
    chromium: Chromium, service: ServiceProcess, database: Database, serve_page: Callable[[str], str]
) -> None:
    names = put_in_queue(service, database, pictures.jpeg(1), pictures.jpeg(2))
    url = serve_page(service.url)
    one, other = visit(chromium, url), visit(chromium, url)
    for page in (one, other):
        page.wait_for(LOADED)
        assert shown_id(page) == names[0]

    one.press("1")
    one.wait_for(f"document.querySelector('#prediction-id').textContent === '{names[1]}'")
    other.press("2")
    other.wait_for(f"document.querySelector('#prediction-id').textContent === '{names[1]}' && {LOADED}")

    assert "Somebody else" in other.text("#note")
    assert other.text("#progress-text") == "0 done, 1 to go"
    assert [opinion.labels for opinion in read_opinions(database, names[0])] == [(CLASSES[0],)]


def test_service_when_it_falls_over_then_the_page_says_so_and_goes_on_where_it_stood(
    chromium: Chromium, service: ServiceProcess, database: Database, serve_page: Callable[[str], str]
) -> None:
    names = put_in_queue(service, database, pictures.jpeg(1), pictures.jpeg(2))
    page = visit(chromium, serve_page(service.url))
    page.wait_for(LOADED)
    service.kill()

    page.press("1")
    page.wait_for(REFUSED)
    assert page.text("#problem-title") == "The server answered 502"
    assert shown_id(page) == names[0]

    service.start()
    page.evaluate("document.querySelector('#again').click()")
    page.wait_for(f"document.querySelector('#prediction-id').textContent === '{names[1]}' && {LOADED}")
    assert [opinion.labels for opinion in read_opinions(database, names[0])] == [(CLASSES[0],)]


def test_image_when_it_is_no_longer_kept_then_only_skip_is_left(
    chromium: Chromium, service: ServiceProcess, database: Database, serve_page: Callable[[str], str],
    screenshots: Path,
) -> None:  # fmt: skip
    (name,) = put_in_queue(service, database, pictures.jpeg(7))
    for path in (service.state_dir / "dl_service" / "images").glob("*/*"):
        path.unlink()
    page = visit(chromium, serve_page(service.url))
    page.wait_for("!document.querySelector('#unshown').hidden && !document.querySelector('#result.stale')")
    page.screenshot(screenshots / "review-gone.png")

    page.press("1")
    assert shown_id(page) == name
    page.press("s")
    page.wait_for(EMPTY)

    assert read_opinions(database, name) == []


def test_image_when_the_browser_cannot_show_its_format_then_says_so(
    chromium: Chromium, service: ServiceProcess, database: Database, serve_page: Callable[[str], str]
) -> None:
    put_in_queue(service, database, pictures.encode(Image.fromarray(pictures.pixels()), "TIFF"))
    page = visit(chromium, serve_page(service.url))

    page.wait_for("!document.querySelector('#unshown').hidden && document.querySelector('#heatmap').naturalWidth > 0")

    assert "cannot show" in page.text("#unshown")


def test_multi_label_item_when_keys_are_pressed_then_enter_saves_what_they_chose(
    chromium: Chromium, make_service: Callable[..., ServiceProcess], serve_page: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "parts").mkdir()
    bundle = publish_small(tmp_path / "storage", 1, tmp_path / "parts", classifier_type="multi-label")
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=str(tmp_path / "storage"))
    service.start()
    service.deploy(bundle)
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    both, none = put_in_queue(service, database, pictures.jpeg(1), pictures.jpeg(2))
    page = visit(chromium, serve_page(service.url))
    page.wait_for(LOADED)

    for key in ("1", "2", "3", "2"):
        page.press(key)
    assert page.evaluate(
        "[...document.querySelectorAll('#choices button')].map(b => b.getAttribute('aria-pressed'))"
    ) == ["true", "false", "true"]
    page.press("Enter")
    page.wait_for(f"document.querySelector('#prediction-id').textContent === '{none}' && {LOADED}")
    page.press("Enter")
    page.wait_for(EMPTY)

    assert [o.labels for o in read_opinions(database, both)] == [tuple(sorted((CLASSES[0], CLASSES[2])))]
    assert [o.labels for o in read_opinions(database, none)] == [()]
    database.close()


def test_key_when_one_is_needed_then_asked_for_and_its_name_is_on_record(
    chromium: Chromium, make_service: Callable[..., ServiceProcess], bundle_store: BundleStore,
    serve_page: Callable[[str], str], screenshots: Path,
) -> None:  # fmt: skip
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_REQUIRE_API_KEYS="true")
    service.start()
    database = open_database(f"sqlite:///{service.state_dir}/predictions.db")
    admin, _ = create_api_key(database, "deploy", ["admin"])
    predicts, _ = create_api_key(database, "line-3", ["predict"])
    reviews, _ = create_api_key(database, "ann", ["predict", "feedback"])
    headers = {"Authorization": f"Bearer {admin}"}
    wait_until(lambda: httpx.get(f"{service.url}/models", headers=headers, trust_env=False).is_success)
    deploy = f"{service.url}/update_model/{bundle_store.first}.yaml"
    httpx.put(deploy, headers=headers, trust_env=False, timeout=60).raise_for_status()
    name = predict(service, pictures.jpeg(3), **headers)
    wait_until(lambda: find_prediction(database, name) is not None)
    add_review_items(database, [ReviewItem(name, "cells", 1, "drifted", 1.0, datetime.now(UTC))])
    page = visit(chromium, serve_page(service.url))
    page.wait_for("!document.querySelector('#key-form').hidden")

    forbidden = "document.querySelector('#problem-id').textContent.includes('forbidden')"
    for key, until in ((predicts, f"{REFUSED} && {forbidden}"), (reviews, EXPLAINED)):
        page.screenshot(screenshots / "review-key.png")
        page.evaluate("document.querySelector('#key').focus()")
        page.type(key)
        page.press("Enter")
        page.wait_for(until)
    page.press("1")
    page.wait_for(EMPTY)

    assert [o.labelled_by for o in read_opinions(database, name)] == ["ann"]
    assert page.evaluate("JSON.stringify([localStorage.length, document.cookie])") == '[0,""]'
    database.close()


def test_pages_when_followed_then_lead_to_each_other(
    chromium: Chromium, service: ServiceProcess, serve_page: Callable[[str], str]
) -> None:
    url = serve_page(service.url)
    page = chromium.new_page()
    page.open(url)

    page.evaluate("document.querySelector('footer a').click()")
    page.wait_for(f"location.href === '{url}review.html' && {EMPTY}")
    page.evaluate("document.querySelector('nav a').click()")
    page.wait_for(f"location.href === '{url}' && document.querySelector('#drop')")


def test_heat_map_is_drawn_by_the_version_that_answered(
    chromium: Chromium, service: ServiceProcess, database: Database, serve_page: Callable[[str], str]
) -> None:
    (name,) = put_in_queue(service, database, pictures.jpeg(5))
    page = visit(chromium, serve_page(service.url))
    page.wait_for(EXPLAINED)

    size = page.evaluate("[heatmap.naturalWidth, heatmap.naturalHeight]")
    direct = httpx.get(f"{service.url}/predictions/{name}/heatmap", trust_env=False).content
    with Image.open(io.BytesIO(direct)) as picture:
        assert list(picture.size) == size


def test_page_when_read_then_holds_nothing_inline_and_nothing_from_elsewhere() -> None:
    html = (STATIC / "review.html").read_text()
    everything = html + (STATIC / "review.js").read_text() + (STATIC / "shared.js").read_text()

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    assert not re.search(r"https?://|url\(|@import|innerHTML|localStorage|document\.cookie", everything)
