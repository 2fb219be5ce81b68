"""From bytes to an answer on record, without HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from onsight.bundle import Bundle
from onsight.db import Database, Outbox, open_database, record_desired, upgrade
from onsight.db.outbox import read_segment
from onsight.db.records import decode_record
from onsight.domain import ModelOutput
from onsight.errors import StorageError, UnreadableImageError
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.images import ImageLimits
from services.dl_service.batching import BatchLimits
from services.dl_service.data_plane import Answer, DataPlane
from services.dl_service.desired_memory import DesiredMemory
from services.dl_service.errors import DeadlineError, NoModelError, OverloadedError
from services.dl_service.metrics import Metrics
from services.dl_service.models import ModelControl
from services.dl_service.prediction_log import ImageJob, PredictionLog
from services.dl_service.probation import ProbationRules
from tests.servers import pictures

Run = Callable[[np.ndarray[Any, Any]], ModelOutput]


def colour_shares(images: np.ndarray[Any, Any]) -> ModelOutput:
    """A network whose probabilities are the image's share of red, green and blue."""
    sums = images.reshape(len(images), -1, 3).sum(axis=1)
    numbers = (sums / sums.sum(axis=1, keepdims=True)).astype(np.float32)
    return ModelOutput(numbers, numbers * 2, numbers, np.zeros((len(images), 2, 2), dtype=np.float32))


def job(content: bytes) -> ImageJob:
    return ImageJob(content, "r-1", "::1", receive_ms=1.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/predictions.db")
    yield opened
    opened.close()


@pytest.fixture
def make_plane(database: Database, tmp_path: Path) -> Iterator[Callable[..., tuple[DataPlane, Outbox]]]:
    closers: list[Callable[[], None]] = []

    def make(
        run: Run | None = colour_shares,
        *,
        deadline_s: float = 10.0,
        queue_size: int = 4,
        outbox_bytes: int = 10**6,
        max_batch: int = 8,
    ) -> tuple[DataPlane, Outbox]:
        metadata = SimpleNamespace(
            model_name="colours",
            version=4,
            bundle_name="colours-v4",
            classes=("red", "green", "blue"),
            input_width=16,
            input_height=12,
        )
        bundle = Bundle(cast("Any", metadata), cast("Any", SimpleNamespace(run=run)), cast("Any", None))
        memory = DesiredMemory(tmp_path / "desired.json")
        rules = ProbationRules(requests=0, max_failed_share=1.0, max_slowdown=100.0)
        models = ModelControl(lambda _: bundle, database, memory, rules, lambda _: None)
        if run is not None:
            upgrade(database)
            record_desired(database, "colours", 4, requested_by="test", reason="")
            models.restore()
        outbox = Outbox(tmp_path / "outbox", outbox_bytes)
        limits = BatchLimits(threads=1, queue_size=queue_size, max_batch=max_batch, deadline_s=deadline_s)
        archive = ImageArchive(tmp_path / "images", ArchivePolicy())
        plane = DataPlane(models, PredictionLog(outbox, archive, Metrics()), ImageLimits(), limits)
        closers.extend([plane.close, outbox.close])
        return plane, outbox

    yield make
    for close in closers:
        close()


def test_predict_answers_and_logs_the_same(make_plane: Callable[..., tuple[DataPlane, Outbox]]) -> None:
    plane, outbox = make_plane()
    content = pictures.jpeg(width=90, height=60)

    answer = asyncio.run(plane.predict(job(content)))

    outbox.seal()
    record = decode_record(read_segment(outbox.sealed()[0])[0])
    assert (record.prediction_id, record.top_class) == (answer.prediction_id, answer.top_class)
    assert record.probabilities == answer.probabilities
    assert record.uae_feats == [value * 2 for value in answer.probabilities]
    assert (record.model_name, record.model_version, record.request_id) == ("colours", 4, "r-1")
    assert (record.image_width, record.image_height, record.image_bytes) == (90, 60, len(content))
    assert set(record.timings_ms) == {"receive", "queue", "decode", "inference"}
    assert answer.explanation is None


def test_predict_gives_the_network_its_input_size(make_plane: Callable[..., tuple[DataPlane, Outbox]]) -> None:
    seen: list[tuple[int, ...]] = []

    def run(images: np.ndarray[Any, Any]) -> ModelOutput:
        seen.append(images.shape)
        return colour_shares(images)

    plane, _ = make_plane(run)
    asyncio.run(plane.predict(job(pictures.jpeg())))

    assert seen == [(1, 12, 16, 3)]


def test_predict_of_pixels_skips_the_decode_and_the_archive(
    make_plane: Callable[..., tuple[DataPlane, Outbox]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    monkeypatch.setattr(ImageArchive, "keep", lambda _, sha256, __: kept.append(sha256))
    plane, outbox = make_plane()
    image = pictures.pixels(width=16, height=12)
    raw = ImageJob(image.tobytes(), "r-1", "::1", 1.0, pixels=image, outputs=("uae_features", "activation_map"))

    answer = asyncio.run(plane.predict(raw))
    plain = asyncio.run(plane.predict(job(pictures.encode(Image.fromarray(image), "PNG"))))

    assert answer.probabilities == plain.probabilities
    assert plain.outputs is None
    assert answer.outputs is not None
    np.testing.assert_array_equal(answer.outputs["uae_features"], np.float32(answer.probabilities) * 2)
    assert answer.outputs["activation_map"].shape == (2, 2)
    outbox.seal()
    of_pixels, of_file = map(decode_record, read_segment(outbox.sealed()[0]))
    assert of_pixels.image_sha256 == hashlib.sha256(image.tobytes()).hexdigest()
    assert (of_pixels.image_width, of_pixels.image_height, of_pixels.image_format) == (16, 12, "RAW")
    assert kept == [of_file.image_sha256]


def test_images_at_once_fit_the_queue() -> None:
    assert BatchLimits(threads=2, queue_size=64, max_batch=8, deadline_s=1.0).images_at_once == 16
    assert BatchLimits(threads=2, queue_size=3, max_batch=8, deadline_s=1.0).images_at_once == 3


def test_predict_without_a_model_is_refused(make_plane: Callable[..., tuple[DataPlane, Outbox]]) -> None:
    plane, _ = make_plane(None)

    with pytest.raises(NoModelError):
        asyncio.run(plane.predict(job(pictures.jpeg())))


def test_predict_of_no_image_logs_nothing(make_plane: Callable[..., tuple[DataPlane, Outbox]]) -> None:
    plane, outbox = make_plane()

    with pytest.raises(UnreadableImageError):
        asyncio.run(plane.predict(job(b"no image")))

    assert outbox.pending_bytes == 0
    assert plane.queued == 0


def test_predict_that_cannot_be_logged_is_not_answered(make_plane: Callable[..., tuple[DataPlane, Outbox]]) -> None:
    plane, _ = make_plane(outbox_bytes=100)

    with pytest.raises(StorageError, match="cap"):
        asyncio.run(plane.predict(job(pictures.jpeg())))


@pytest.mark.parametrize("field", ["probabilities", "uae_features"])
def test_predict_with_numbers_that_are_not_finite_is_refused(
    make_plane: Callable[..., tuple[DataPlane, Outbox]], field: str
) -> None:
    def run(images: np.ndarray[Any, Any]) -> ModelOutput:
        output = colour_shares(images)
        getattr(output, field)[0, 0] = np.nan
        return output

    plane, outbox = make_plane(run)

    with pytest.raises(NoModelError, match="not finite"):
        asyncio.run(plane.predict(job(pictures.jpeg())))

    assert outbox.pending_bytes == 0


def test_predict_beyond_the_queue_is_refused_and_the_rest_is_answered(
    make_plane: Callable[..., tuple[DataPlane, Outbox]],
) -> None:
    go = threading.Event()

    def run(images: np.ndarray[Any, Any]) -> ModelOutput:
        go.wait(30)
        return colour_shares(images)

    plane, _ = make_plane(run, queue_size=3)

    async def burst() -> list[Answer | BaseException]:
        tasks = [asyncio.ensure_future(plane.predict(job(pictures.jpeg()))) for _ in range(5)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(burst())

    assert [isinstance(answer, Answer) for answer in answers] == [True, True, True, False, False]
    assert all(isinstance(answer, OverloadedError) for answer in answers[3:])
    assert plane.queued == 0


def test_predict_of_many_answers_each_with_its_own(make_plane: Callable[..., tuple[DataPlane, Outbox]]) -> None:
    sizes: list[int] = []
    go = threading.Event()

    def run(images: np.ndarray[Any, Any]) -> ModelOutput:
        go.wait(30)
        sizes.append(len(images))
        return colour_shares(images)

    plane, outbox = make_plane(run, queue_size=20)
    contents = [pictures.jpeg(width=20 + index, height=30) for index in range(9)]
    contents[4] = b"no image"

    async def all_of_them() -> list[Answer | BaseException]:
        tasks = [asyncio.ensure_future(plane.predict(job(content))) for content in contents]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(all_of_them())
    alone = [asyncio.run(plane.predict(job(content))) for content in contents if content != b"no image"]

    assert isinstance(answers.pop(4), UnreadableImageError)
    assert [answer.probabilities for answer in answers if isinstance(answer, Answer)] == [
        answer.probabilities for answer in alone
    ]
    assert max(sizes) > 1
    outbox.seal()
    logged = [decode_record(line) for line in read_segment(outbox.sealed()[0])]
    assert len({record.prediction_id for record in logged}) == len(logged) == 16


def test_predict_of_one_bad_row_in_a_batch_fails_that_one_alone(
    make_plane: Callable[..., tuple[DataPlane, Outbox]],
) -> None:
    def run(images: np.ndarray[Any, Any]) -> ModelOutput:
        output = colour_shares(np.maximum(images, 1))
        output.probabilities[images.mean(axis=(1, 2, 3)) < 1] = np.nan
        return output

    plane, _ = make_plane(run)
    black = pictures.encode(Image.fromarray(np.zeros((20, 20, 3), np.uint8)), "PNG")

    async def both() -> list[Answer | BaseException]:
        return await asyncio.gather(
            plane.predict(job(black)), plane.predict(job(pictures.jpeg())), return_exceptions=True
        )

    bad, good = asyncio.run(both())

    assert isinstance(bad, NoModelError)
    assert isinstance(good, Answer)


def test_predict_past_its_deadline_is_refused_and_not_logged(
    make_plane: Callable[..., tuple[DataPlane, Outbox]],
) -> None:
    go = threading.Event()

    def run(images: np.ndarray[Any, Any]) -> ModelOutput:
        go.wait(30)
        return colour_shares(images)

    plane, outbox = make_plane(run, deadline_s=0.05)

    async def late() -> list[Answer | BaseException]:
        # Both have to be past it before the network goes on: their deadlines are not quite the same.
        asked = [plane.predict(job(pictures.jpeg())) for _ in range(2)]
        try:
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            go.set()

    assert [type(outcome) for outcome in asyncio.run(late())] == [DeadlineError, DeadlineError]

    plane.close()
    assert outbox.pending_bytes == 0
