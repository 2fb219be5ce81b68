"""From an answered image to its rows in ``predictions`` and ``api_log``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onsight.db import ApiCallRecord, Outbox, PredictionRecord, uuid7
from onsight.domain import BundleMetadata
from onsight.image_archive import ImageArchive
from onsight.images import ImageFile, ImageProperties
from services.dl_service.explanations import ExplainRequest
from services.dl_service.metrics import Metrics

__all__ = ["RAW_FORMAT", "AnswerRow", "ImageJob", "PredictionLog", "prediction_record"]

# Of an image that came as pixels, in the column of file formats.
RAW_FORMAT = "RAW"


@dataclass(frozen=True)
class ImageJob:
    """One image to answer.

    Attributes:
        content: The bytes of an image file; or those of ``pixels``.
        receive_ms: How long its bytes took to arrive.
        route: Of the call that this image is all of, which is then logged with its prediction; empty: the caller
            logs its call.
        explain: The explanation that is asked for, if any.
        pixels: uint8 [H, W, 3], RGB, at the model's input size: there is no file to decode, and none to keep.
        outputs: Fields of ``ModelOutput`` that the answer is to carry beside what is logged.
    """

    content: bytes
    request_id: str
    client: str
    receive_ms: float
    route: str = ""
    explain: ExplainRequest | None = None
    pixels: NDArray[np.uint8] | None = None
    outputs: tuple[str, ...] = ()


class AnswerRow(NamedTuple):
    """What was found about one image of a batch."""

    probabilities: Sequence[float]
    uae_feats: Sequence[float]
    bbsd_feats: Sequence[float]
    properties: ImageProperties


class PredictionLog:
    """Where answers go before they are given: the outbox, the image archive, the metrics."""

    def __init__(self, outbox: Outbox, archive: ImageArchive, metrics: Metrics) -> None:
        self._outbox = outbox
        self._archive = archive
        self._metrics = metrics

    def append(self, answered: Sequence[tuple[ImageJob, PredictionRecord]]) -> None:
        """Puts answers on record, in one write; their images are kept as the archive's policy says.

        Raises:
            StorageError: The outbox does not take them; none is on record.
        """
        self._outbox.append(*_lines(answered))
        for job, record in answered:
            if job.pixels is None:
                self._archive.keep(record.image_sha256, job.content)
            self._metrics.count_prediction(record)

    def note_batch(self, n_images: int) -> None:
        """One batch, inferred."""
        self._metrics.count_batch(n_images)

    def note_explanation(self, explain_ms: float) -> None:
        """One answer, explained."""
        self._metrics.count_stage("explain", explain_ms)


def prediction_record(
    job: ImageJob,
    image: ImageFile,
    metadata: BundleMetadata,
    row: AnswerRow,
    timings_ms: Mapping[str, float],
) -> PredictionRecord:
    """The row of an answered image.

    Args:
        job: What was asked.
        image: As the network saw it.
        metadata: Of the bundle that answered.
        row: What was found.
        timings_ms: Milliseconds by stage.
    """
    confidence = max(row.probabilities)
    return PredictionRecord(
        prediction_id=uuid7(),
        request_id=job.request_id,
        model_name=metadata.model_name,
        model_version=metadata.version,
        created_at=datetime.now(UTC),
        probabilities=row.probabilities,
        top_class=metadata.classes[row.probabilities.index(confidence)],
        confidence=confidence,
        uae_feats=row.uae_feats,
        bbsd_feats=row.bbsd_feats,
        image_sha256=hashlib.sha256(job.content).hexdigest(),
        image_bytes=len(job.content),
        image_width=image.width,
        image_height=image.height,
        image_format=image.format,
        client=job.client,
        timings_ms={stage: round(value, 3) for stage, value in timings_ms.items()},
        image_brightness=row.properties.brightness,
        image_contrast=row.properties.contrast,
        image_sharpness=row.properties.sharpness,
    )


def _lines(answered: Sequence[tuple[ImageJob, PredictionRecord]]) -> Iterator[PredictionRecord | ApiCallRecord]:
    for job, record in answered:
        yield record
        if job.route:
            yield _call_record(record, job.route)


def _call_record(record: PredictionRecord, route: str) -> ApiCallRecord:
    """The row of a call that this prediction is all of."""
    latency_ms = round(sum(record.timings_ms.values()), 3)
    return ApiCallRecord(
        call_id=uuid7(),
        request_id=record.request_id,
        route=route,
        method="POST",
        status=200,
        code="ok",
        latency_ms=latency_ms,
        client=record.client,
        at=record.created_at - timedelta(milliseconds=latency_ms),
    )
