"""From the bytes of an image to an answer on record: decode, infer, log. Knows nothing of HTTP.

All of it runs on a pool of threads, one per core: the event loop only waits. The seam for micro-batching is
``_infer``, which takes one image now.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onsight.db import Outbox, PredictionRecord, uuid7
from onsight.domain import ModelOutput
from onsight.images import ImageLimits, read_image
from services.dl_service.errors import DeadlineError, NoModelError, OverloadedError
from services.dl_service.metrics import Metrics
from services.dl_service.models import ModelControl, ServedModel

__all__ = ["Answer", "DataPlane", "DataPlaneLimits", "ImageJob"]


@dataclass(frozen=True)
class DataPlaneLimits:
    """How much the data plane takes on.

    Attributes:
        threads: Images worked on at once.
        queue_size: Images that wait for a thread.
    """

    images: ImageLimits
    threads: int
    queue_size: int
    deadline_s: float


@dataclass(frozen=True)
class ImageJob:
    """One image to answer.

    Attributes:
        receive_ms: How long its bytes took to arrive.
    """

    content: bytes
    request_id: str
    client: str
    receive_ms: float
    submitted_s: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Answer:
    """What the model said, as it was logged.

    Attributes:
        probabilities: By class, in the bundle's order.
    """

    prediction_id: str
    model: ServedModel
    probabilities: Sequence[float]
    top_class: str
    confidence: float


class DataPlane:
    """Answers images with the model that is served, and logs each answer before it is given."""

    def __init__(self, models: ModelControl, outbox: Outbox, metrics: Metrics, limits: DataPlaneLimits) -> None:
        self._models = models
        self._outbox = outbox
        self._metrics = metrics
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="inference")
        self._count_lock = threading.Lock()
        self._unfinished = 0

    @property
    def queued(self) -> int:
        """Images that wait for a thread."""
        return max(0, self._unfinished - self._limits.threads)

    def refuse_when_full(self) -> None:
        """Refuses one more image when the queue is full.

        Raises:
            OverloadedError: It is.
        """
        if self._unfinished >= self._limits.threads + self._limits.queue_size:
            raise OverloadedError(f"{self.queued} images are waiting already", "try again in a moment")

    async def predict(self, job: ImageJob) -> Answer:
        """Answers one image. Call it on the event loop.

        Raises:
            NoModelError: There is no model, or its answer is none.
            ImageError: The image cannot be used.
            OverloadedError: The queue is full.
            DeadlineError: The answer was not ready in time.
            StorageError: The answer cannot be logged.
        """
        model = self._models.current
        self.refuse_when_full()
        with self._count_lock:
            self._unfinished += 1
        future = self._threads.submit(self._answer, job, model)
        future.add_done_callback(self._finish)
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise self._too_late() from error

    def close(self) -> None:
        """Waits for the images being worked on; those still queued are dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _finish(self, _: Future[Answer]) -> None:
        with self._count_lock:
            self._unfinished -= 1

    def _too_late(self) -> DeadlineError:
        return DeadlineError(f"no answer within {self._limits.deadline_s:g} s", "try again in a moment")

    def _answer(self, job: ImageJob, model: ServedModel) -> Answer:
        started_s = time.perf_counter()
        if started_s - job.submitted_s > self._limits.deadline_s:
            raise self._too_late()
        metadata = model.bundle.metadata
        image = read_image(job.content, metadata.input_width, metadata.input_height, self._limits.images)
        decoded_s = time.perf_counter()
        output = self._infer(model, image)
        inferred_s = time.perf_counter()
        if inferred_s - job.submitted_s > self._limits.deadline_s:
            raise self._too_late()
        timings_ms = {
            "receive": job.receive_ms,
            "queue": (started_s - job.submitted_s) * 1000,
            "decode": (decoded_s - started_s) * 1000,
            "inference": (inferred_s - decoded_s) * 1000,
        }
        record = self._record(job, model, output, timings_ms)
        self._outbox.append(record)
        self._metrics.count_prediction(metadata.model_name, record.top_class, record.confidence, timings_ms)
        return Answer(record.prediction_id, model, record.probabilities, record.top_class, record.confidence)

    @staticmethod
    def _infer(model: ServedModel, image_rgb_hwc: NDArray[np.uint8]) -> ModelOutput:
        output = model.bundle.classifier.run(image_rgb_hwc[np.newaxis])
        if not (np.isfinite(output.probabilities).all() and np.isfinite(output.uae_features).all()):
            raise NoModelError(f"the model {model.name} answers with numbers that are not finite")
        return output

    def _record(
        self, job: ImageJob, model: ServedModel, output: ModelOutput, timings_ms: Mapping[str, float]
    ) -> PredictionRecord:
        metadata = model.bundle.metadata
        top = int(output.probabilities[0].argmax())
        width, height, image_format = self._read_header(job.content)
        return PredictionRecord(
            prediction_id=str(uuid7()),
            request_id=job.request_id,
            model_name=metadata.model_name,
            model_version=metadata.version,
            created_at=datetime.now(UTC),
            probabilities=output.probabilities[0].tolist(),
            top_class=metadata.classes[top],
            confidence=float(output.probabilities[0, top]),
            uae_feats=output.uae_features[0].tolist(),
            bbsd_feats=output.bbsd_features[0].tolist(),
            image_sha256=hashlib.sha256(job.content).hexdigest(),
            image_bytes=len(job.content),
            image_width=width,
            image_height=height,
            image_format=image_format,
            client=job.client,
            timings_ms={stage: round(value, 3) for stage, value in timings_ms.items()},
        )

    def _read_header(self, content: bytes) -> tuple[int, int, str]:
        # The decode succeeded, so that the header is sound; reading it again takes no pixel.
        with Image.open(io.BytesIO(content), formats=self._limits.images.formats) as header:
            return header.width, header.height, str(header.format)
