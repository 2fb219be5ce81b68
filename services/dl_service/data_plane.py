"""From the bytes of an image to an answer on record: decode, infer, log. Knows nothing of HTTP.

All of it runs in batches on the threads of the batcher: the event loop only waits.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onsight.db import PredictionRecord
from onsight.domain import ModelOutput
from onsight.errors import OnsightError
from onsight.images import ImageFile, ImageLimits, measure_properties, read_image_file
from services.dl_service.batching import Batcher, BatchLimits, Ticket
from services.dl_service.errors import DeadlineError, NoModelError
from services.dl_service.explanations import Explanation, check_explain, explain_or_say_why
from services.dl_service.models import ModelControl, ServedModel
from services.dl_service.prediction_log import RAW_FORMAT, AnswerRow, ImageJob, PredictionLog, prediction_record

__all__ = ["Answer", "DataPlane"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the model said, as it was logged.

    Attributes:
        probabilities: By class, in the bundle's order.
        explanation: If one was asked for.
        outputs: This image's row of each of the model's outputs that were asked for, by name.
    """

    prediction_id: str
    model: ServedModel
    probabilities: Sequence[float]
    top_class: str
    confidence: float
    explanation: Explanation | None = None
    outputs: Mapping[str, NDArray[np.float32]] | None = None


@dataclass(frozen=True)
class _Request:
    job: ImageJob
    model: ServedModel


_Ticket = Ticket[_Request, Answer]
_Outcomes = dict[_Ticket, Answer | Exception]


@dataclass(frozen=True)
class _Decoded:
    ticket: _Ticket
    image: ImageFile
    decode_ms: float

    @property
    def model(self) -> ServedModel:
        return self.ticket.job.model


class DataPlane:
    """Answers images with the model that is served, and logs each answer before it is given."""

    def __init__(self, models: ModelControl, log: PredictionLog, images: ImageLimits, limits: BatchLimits) -> None:
        self._models = models
        self._log = log
        self._images = images
        self._batcher = Batcher[_Request, Answer](self._answer_batch, limits)

    @property
    def queued(self) -> int:
        """Images that wait for a thread."""
        return self._batcher.queued

    def refuse_when_full(self) -> None:
        """Refuses one more image when the queue is full.

        Raises:
            OverloadedError: It is.
        """
        self._batcher.refuse_when_full()

    async def predict(self, job: ImageJob, model: ServedModel | None = None) -> Answer:
        """Answers one image. Call it on the event loop.

        Args:
            job: What is asked.
            model: That the request began with; the one that is served now unless given.

        Raises:
            NoModelError: There is no model, or its answer is none.
            ExplainRequestError: The explanation is of a class that the model does not know.
            UnexplainableError: The model cannot explain its answers.
            ImageError: The image cannot be used.
            OverloadedError: The queue is full.
            DeadlineError: The answer was not ready in time.
            StorageError: The answer cannot be logged.
        """
        model = model or self._models.current
        if job.explain is not None:
            check_explain(job.explain, model.bundle)
        return await self._batcher.submit(_Request(job, model))

    def close(self) -> None:
        """Waits for the images being worked on; those still queued are dropped."""
        self._batcher.close()

    def _answer_batch(self, tickets: Sequence[_Ticket]) -> list[Answer | Exception]:
        taken_s = time.perf_counter()
        outcomes: _Outcomes = {}
        decoded: list[_Decoded] = []
        for ticket in tickets:
            try:
                decoded.append(self._decode(ticket))
            except OnsightError as error:
                outcomes[ticket] = error
        # A swap may fall between two tickets: each is answered by the model that it came in under.
        for model in dict.fromkeys(one.model for one in decoded):
            outcomes |= self._answer_model(model, [one for one in decoded if one.model is model], taken_s)
        return [outcomes[ticket] for ticket in tickets]

    def _decode(self, ticket: _Ticket) -> _Decoded:
        started_s = time.perf_counter()
        job, metadata = ticket.job.job, ticket.job.model.bundle.metadata
        width, height = metadata.input_width, metadata.input_height
        if job.pixels is not None:
            image = ImageFile(job.pixels, width, height, RAW_FORMAT)
        else:
            image = read_image_file(job.content, width, height, self._images)
        return _Decoded(ticket, image, (time.perf_counter() - started_s) * 1000)

    def _answer_model(self, model: ServedModel, decoded: Sequence[_Decoded], taken_s: float) -> _Outcomes:
        images = np.array([one.image.pixels for one in decoded])
        started_s = time.perf_counter()
        try:
            output, feature_maps = _infer(
                model, images, is_explained=any(one.ticket.job.job.explain for one in decoded)
            )
        except NoModelError as error:
            model.record.note_failures(len(decoded))
            return {one.ticket: error for one in decoded}
        inference_ms = (time.perf_counter() - started_s) * 1000
        sound = [pair for pair in zip(decoded, _rows(output, images), strict=True) if _is_finite(pair[1])]
        model.record.note_failures(len(decoded) - len(sound))
        model.record.note_answers(len(sound), inference_ms)
        self._log.note_batch(len(decoded))
        outcomes = self._conclude([(one.ticket, _record(one, row, taken_s, inference_ms)) for one, row in sound])
        for one in decoded:
            if one.ticket not in outcomes:
                outcomes[one.ticket] = NoModelError(f"the model {model.name} answers with numbers that are not finite")
        for index, one in enumerate(decoded):
            self._explain(one, outcomes, feature_maps[index] if feature_maps is not None else None)
            _add_outputs(one, outcomes, output, index)
        return outcomes

    def _conclude(self, answered: Sequence[tuple[_Ticket, PredictionRecord]]) -> _Outcomes:
        """Logs the answers that are still wanted, in one write, then gives them."""
        wanted = [(ticket, record) for ticket, record in answered if ticket.is_wanted]
        try:
            self._log.append([(ticket.job.job, record) for ticket, record in wanted])
        except OnsightError as error:
            return {ticket: error for ticket, _ in answered}
        outcomes: _Outcomes = {
            ticket: Answer(
                record.prediction_id, ticket.job.model, record.probabilities, record.top_class, record.confidence
            )
            for ticket, record in wanted
        }
        for ticket, _ in answered:
            if ticket not in outcomes:
                outcomes[ticket] = DeadlineError("the answer came too late", "try again in a moment")
        return outcomes

    def _explain(self, one: _Decoded, outcomes: _Outcomes, feature_maps: NDArray[np.float32] | None) -> None:
        """Adds the explanation to an answer that is on record; whatever goes wrong here, the answer stays."""
        job, answer = one.ticket.job.job, outcomes[one.ticket]
        if job.explain is None or feature_maps is None or isinstance(answer, Exception):
            return
        started_s = time.perf_counter()
        found = explain_or_say_why(
            job.content, one.model.bundle, feature_maps, job.explain, answer.top_class, self._images
        )
        self._log.note_explanation((time.perf_counter() - started_s) * 1000)
        outcomes[one.ticket] = replace(answer, explanation=found)


def _add_outputs(one: _Decoded, outcomes: _Outcomes, output: ModelOutput, index: int) -> None:
    names, answer = one.ticket.job.job.outputs, outcomes[one.ticket]
    if names and isinstance(answer, Answer):
        outcomes[one.ticket] = replace(answer, outputs={name: getattr(output, name)[index] for name in names})


def _infer(
    model: ServedModel, images: NDArray[np.uint8], *, is_explained: bool
) -> tuple[ModelOutput, NDArray[np.float32] | None]:
    """The model's answers; with the feature maps, if any of the images is to be explained."""
    classifier = model.bundle.classifier
    try:
        return classifier.run_explained(images) if is_explained else (classifier.run(images), None)
    except Exception as error:
        _LOG.exception("the model %s fails to answer", model.name)
        raise NoModelError(f"the model {model.name} fails to answer") from error


def _is_finite(row: AnswerRow) -> bool:
    """Whether all its numbers are numbers: a sum of single-precision ones is, unless one of them is none."""
    return math.isfinite(sum(row.probabilities) + sum(row.uae_feats))


def _rows(output: ModelOutput, images: NDArray[np.uint8]) -> Iterator[AnswerRow]:
    numbers = (output.probabilities, output.uae_features, output.bbsd_features)
    return map(AnswerRow, *(values.tolist() for values in numbers), measure_properties(images))


def _record(one: _Decoded, row: AnswerRow, taken_s: float, inference_ms: float) -> PredictionRecord:
    job = one.ticket.job.job
    timings_ms = {
        "receive": job.receive_ms,
        "queue": (taken_s - one.ticket.submitted_s) * 1000,
        "decode": one.decode_ms,
        "inference": inference_ms,
    }
    return prediction_record(job, one.image, one.model.bundle.metadata, row, timings_ms)
