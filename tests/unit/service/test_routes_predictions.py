"""GET /predictions/{id} and what lies below it, over HTTP, with a real bundle, database, outbox and archive."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from onsight.bundle import Bundle
from onsight.db import Database, Outbox, PredictionRecord, insert_records, open_database, upgrade, uuid7
from onsight.domain import BundleMetadata
from onsight.errors import OnsightError, StorageError
from onsight.explain import class_activation_map, draw_heat_map
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.images import ImageLimits, read_image
from services.dl_service import routes_predictions
from services.dl_service.errors import UnknownModelError
from services.dl_service.lookups import PredictionLookup
from services.dl_service.problems import answer_problem
from tests.servers import pictures
from tests.servers.bundle import CLASSES
from tests.servers.dl_service import free_port

CONTENT = pictures.encode(Image.fromarray(pictures.pixels()), "PNG")


@dataclass
class World:
    """The parts below the routes."""

    lookup: PredictionLookup
    outbox: Outbox
    archive: ImageArchive

    def get(self, path: str) -> httpx.Response:
        """Asks the routes."""

        async def ask() -> httpx.Response:
            app = FastAPI()
            app.include_router(routes_predictions.router)
            app.add_exception_handler(OnsightError, answer_problem)
            app.state.service = SimpleNamespace(lookup=replace(self.lookup, slots=asyncio.Semaphore(1)))
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.get(path)

        return asyncio.run(ask())

    def log(self, bundle: Bundle, content: bytes = CONTENT, **changes: Any) -> PredictionRecord:
        """A prediction on record, with its image in the archive."""
        pixels = read_image(content, 32, 32)
        record = replace(record_of(bundle, pixels, content), **changes)
        insert_records(self.lookup.database, [record])
        self.archive.keep(hashlib.sha256(content).hexdigest(), content)
        return record


def record_of(bundle: Bundle, pixels: np.ndarray[Any, Any], content: bytes) -> PredictionRecord:
    probabilities = bundle.classifier.run(pixels[np.newaxis]).probabilities[0]
    return PredictionRecord(
        prediction_id=uuid7(),
        request_id="r-1",
        model_name="cells",
        model_version=1,
        created_at=datetime.now(UTC),
        probabilities=probabilities.tolist(),
        top_class=CLASSES[int(probabilities.argmax())],
        confidence=float(probabilities.max()),
        uae_feats=[1.0],
        bbsd_feats=[0.5],
        image_sha256=hashlib.sha256(content).hexdigest(),
        image_bytes=len(content),
        image_width=90,
        image_height=60,
        image_format="PNG",
        client="::1",
        timings_ms={"decode": 1.25},
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/predictions.db")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def world(database: Database, small_bundle: Bundle, tmp_path: Path) -> Iterator[World]:
    outbox = Outbox(tmp_path / "outbox", 10**6)
    archive = ImageArchive(tmp_path / "images", ArchivePolicy())

    def bundle_for(name: str) -> Bundle:
        if name != "cells-v1":
            raise UnknownModelError(f"central storage holds no bundle {name}")
        return small_bundle

    def metadata_for(name: str) -> BundleMetadata:
        if name != "cells-v1":
            raise StorageError(f"central storage has no models/{name}.yaml")
        return small_bundle.metadata

    lookup = PredictionLookup(database, outbox.folder, archive, bundle_for, metadata_for, ImageLimits())
    yield World(lookup, outbox, archive)
    outbox.close()


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def test_prediction_is_the_row_with_its_classes_named(world: World, small_bundle: Bundle) -> None:
    record = world.log(small_bundle)

    answer = world.get(f"/predictions/{record.prediction_id}").json()

    assert answer.pop("prediction") == dict(zip(CLASSES, record.probabilities, strict=True))
    assert datetime.fromisoformat(answer.pop("created_at")) == record.created_at
    assert answer == {name: getattr(record, name) for name in answer}
    assert {"model_version", "probabilities", "timings_ms", "image_sha256", "image_bytes", "client"} <= set(answer)


def test_prediction_id_may_be_written_in_capitals(world: World, small_bundle: Bundle) -> None:
    record = world.log(small_bundle)

    assert world.get(f"/predictions/{record.prediction_id.upper()}").json()["prediction_id"] == record.prediction_id


def test_prediction_of_a_version_that_is_gone_has_no_names(world: World, small_bundle: Bundle) -> None:
    record = world.log(small_bundle, model_version=9)

    answer = world.get(f"/predictions/{record.prediction_id}").json()

    assert answer["prediction"] is None
    assert answer["probabilities"] == record.probabilities
    assert problem(world.get(f"/predictions/{record.prediction_id}/heatmap")) == (404, "unknown_model")


def test_prediction_that_is_not_shipped_yet_is_found_in_the_outbox(world: World, small_bundle: Bundle) -> None:
    record = record_of(small_bundle, read_image(CONTENT, 32, 32), CONTENT)
    world.outbox.append(record)

    assert world.get(f"/predictions/{record.prediction_id}").json()["image_sha256"] == record.image_sha256


def test_image_of_a_new_prediction_that_another_worker_has_yet_to_write_is_waited_for(
    world: World, small_bundle: Bundle, tmp_path: Path
) -> None:
    other = ImageArchive(tmp_path / "images", ArchivePolicy())
    new = replace(world, archive=other).log(small_bundle)
    threading.Timer(0.1, other.start).start()

    assert world.get(f"/predictions/{new.prediction_id}/image").content == CONTENT
    other.close()


@pytest.mark.parametrize("below", ["", "/image", "/heatmap"])
def test_unknown_prediction_says_that_it_may_come(world: World, below: str) -> None:
    response = world.get(f"/predictions/{uuid7()}{below}")

    assert problem(response) == (404, "unknown_prediction")
    assert response.headers["retry-after"] == "1"
    assert "may not have reached the database yet" in response.json()["hint"]


@pytest.mark.parametrize("wrong", ["1", "0" * 32, "..%2F..%2Fetc%2Fpasswd", "%00", "x" * 5000])
@pytest.mark.parametrize("below", ["", "/image", "/heatmap"])
def test_malformed_id_is_refused(world: World, wrong: str, below: str) -> None:
    response = world.get(f"/predictions/{wrong}{below}")

    if "%2F" not in wrong:  # a slash is none of the route's
        assert problem(response) == (422, "invalid_prediction_id")
    assert response.status_code in (404, 422)


def test_image_is_byte_for_byte_what_came(world: World, small_bundle: Bundle) -> None:
    record = world.log(small_bundle)

    response = world.get(f"/predictions/{record.prediction_id}/image")

    assert response.content == CONTENT
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"] == f'inline; filename="{record.prediction_id}.png"'
    assert "sandbox" in response.headers["content-security-policy"]


@pytest.mark.parametrize(("image_format", "kind"), [("MPO", "image/jpeg"), ("text/html", "application/octet-stream")])
def test_image_of_a_format_is_of_a_known_type_or_of_none(
    world: World, small_bundle: Bundle, image_format: str, kind: str
) -> None:
    record = world.log(small_bundle, image_format=image_format)

    assert world.get(f"/predictions/{record.prediction_id}/image").headers["content-type"] == kind


@pytest.mark.parametrize("below", ["image", "heatmap"])
def test_image_that_is_not_kept_says_so(world: World, small_bundle: Bundle, below: str) -> None:
    record = world.log(small_bundle, image_sha256="0" * 64)

    assert problem(world.get(f"/predictions/{record.prediction_id}/{below}")) == (404, "image_not_kept")


@pytest.mark.parametrize(("image_format", "share"), [("RAW", 1.0), ("PNG", 0.0)])
def test_image_that_is_never_kept_is_not_waited_for(
    world: World, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, image_format: str, share: float
) -> None:
    monkeypatch.setattr(world.archive, "policy", ArchivePolicy(share=share))
    record = world.log(small_bundle, image_sha256="0" * 64, image_format=image_format)
    naps: list[float] = []
    monkeypatch.setattr("services.dl_service.lookups.time.sleep", naps.append)

    assert problem(world.get(f"/predictions/{record.prediction_id}/image")) == (404, "image_not_kept")
    assert naps == []


@pytest.mark.parametrize("name", [None, *CLASSES])
def test_heatmap_is_drawn_by_the_version_that_answered(world: World, small_bundle: Bundle, name: str | None) -> None:
    record = world.log(small_bundle)
    query = "?format=png" + (f"&explain_class={name}" if name else "")

    response = world.get(f"/predictions/{record.prediction_id}/heatmap{query}")

    _, maps = small_bundle.classifier.run_explained(read_image(CONTENT, 32, 32)[np.newaxis])
    assert small_bundle.explainer is not None
    weights = small_bundle.explainer.class_weights[:, CLASSES.index(name or record.top_class)]
    expected = draw_heat_map(class_activation_map(maps[0], weights), 90, 60).view(np.uint8).reshape(60, 90, 4)
    with Image.open(io.BytesIO(response.content)) as found:
        np.testing.assert_array_equal(np.asarray(found), expected[..., :3])
    assert response.headers["content-type"] == "image/png"


@pytest.mark.parametrize("kind", ["heatmap", "overlay"])
def test_heatmap_is_a_jpeg_of_the_kind_asked_for(world: World, small_bundle: Bundle, kind: str) -> None:
    record = world.log(small_bundle)

    response = world.get(f"/predictions/{record.prediction_id}/heatmap?kind={kind}")

    assert response.headers["content-type"] == "image/jpeg"
    assert f'-{kind}.jpeg"' in response.headers["content-disposition"]
    with Image.open(io.BytesIO(response.content)) as found:
        assert (found.format, found.size) == ("JPEG", (90, 60))


def test_heatmap_of_no_class_is_refused(world: World, small_bundle: Bundle) -> None:
    record = world.log(small_bundle)

    path = f"/predictions/{record.prediction_id}/heatmap"

    assert problem(world.get(f"{path}?explain_class=melted")) == (422, "invalid_explain")
    assert world.get(f"{path}?kind=both").status_code == 422


def test_a_database_that_is_down_leaves_what_the_outbox_holds(world: World, small_bundle: Bundle) -> None:
    database = open_database(f"postgresql://127.0.0.1:{free_port()}/nothing_listens_here")
    down = World(replace(world.lookup, database=database), world.outbox, world.archive)
    record = record_of(small_bundle, read_image(CONTENT, 32, 32), CONTENT)
    world.outbox.append(record)

    found = down.get(f"/predictions/{record.prediction_id}")
    other = down.get(f"/predictions/{uuid7()}")

    database.close()
    assert found.json()["prediction_id"] == record.prediction_id
    assert problem(other) == (503, "dependency_down")
