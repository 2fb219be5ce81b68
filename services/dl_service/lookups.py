"""What can be asked about a prediction later: its row, its image, and a picture of the evidence; without HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from onsight.bundle import Bundle
from onsight.db import Database, PredictionRecord, find_prediction, find_unshipped, is_prediction_id
from onsight.domain import BundleMetadata
from onsight.errors import DependencyError, OnsightError
from onsight.image_archive import ImageArchive
from onsight.images import ImageLimits, read_image
from services.dl_service.errors import ImageNotKeptError, PredictionIdError, UnknownPredictionError
from services.dl_service.explanations import ExplainRequest, check_explain, make_pictures
from services.dl_service.prediction_log import RAW_FORMAT

__all__ = ["BundleShelf", "PredictionLookup"]

_HEATMAPS_AT_ONCE = 2
_WRITTEN_WITHIN_S = 1.0
_LOOK_AGAIN_S = 0.05


class BundleShelf:
    """Loaded bundles of versions that are not served any more: the few used last. Safe to call from several threads.

    Args:
        load: Gives a verified bundle by name.
        served: The bundle that takes traffic, or None; it takes no place on the shelf.
    """

    def __init__(self, load: Callable[[str], Bundle], served: Callable[[], Bundle | None], places: int = 2) -> None:
        self._load = load
        self._served = served
        self._places = places
        self._lock = threading.Lock()
        self._bundles: OrderedDict[str, Bundle] = OrderedDict()

    def get(self, name: str) -> Bundle:
        """The bundle, loaded if need be; one at a time, so that many requests for it load it once.

        Raises:
            OnsightError: It cannot be loaded; the next call tries again.
        """
        served = self._served()
        if served is not None and served.metadata.bundle_name == name:
            return served
        with self._lock:
            if name not in self._bundles:
                while len(self._bundles) >= self._places:
                    self._bundles.popitem(last=False)
                self._bundles[name] = self._load(name)
            self._bundles.move_to_end(name)
            return self._bundles[name]


@dataclass(frozen=True)
class PredictionLookup:
    """Answers what is asked about predictions. Everything but ``slots`` blocks: call it from a thread.

    Attributes:
        outbox_folder: Where predictions wait for the database.
        bundle_for: Gives the bundle of a name, loaded.
        metadata_for: Gives the metadata of a bundle's name.
        limits: Of images.
        slots: To be held while ``draw`` runs; it takes far more memory than the rest.
    """

    database: Database
    outbox_folder: Path
    image_archive: ImageArchive
    bundle_for: Callable[[str], Bundle]
    metadata_for: Callable[[str], BundleMetadata]
    limits: ImageLimits
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_HEATMAPS_AT_ONCE))

    def find(self, prediction_id: str) -> PredictionRecord:
        """A prediction by its id.

        Raises:
            PredictionIdError: The id has not the form of one.
            UnknownPredictionError: There is no such prediction, or it is on its way.
            DependencyError: The database does not answer, and the outbox does not hold it.
        """
        prediction_id = prediction_id.lower()
        if not is_prediction_id(prediction_id):
            raise PredictionIdError(f"{prediction_id[:100]!r} is no prediction_id", "it is a UUID, as /predict gave it")
        try:
            found = find_prediction(self.database, prediction_id)
        except DependencyError:
            found = find_unshipped(self.outbox_folder, prediction_id)
            if found is None:
                raise
            return found
        # It may have been shipped between the first look and the second.
        found = found or find_unshipped(self.outbox_folder, prediction_id)
        found = found or find_prediction(self.database, prediction_id)
        if found is None:
            raise UnknownPredictionError(
                f"there is no prediction {prediction_id}",
                "a new one may not have reached the database yet: ask again in a moment",
            )
        return found

    def read_image(self, record: PredictionRecord) -> bytes:
        """The image as it was uploaded.

        Raises:
            ImageNotKeptError: The archive does not have it.
        """
        content = self.image_archive.find(record.image_sha256)
        if content is None:
            content = self._find_when_written(record)
        if content is None:
            raise ImageNotKeptError(
                f"the image of prediction {record.prediction_id} is not in this replica's archive",
                "images are kept for some days, and only a share of them if the settings say so",
            )
        return content

    def _find_when_written(self, record: PredictionRecord) -> bytes | None:
        """The image of a new prediction, which the worker that answered may be about to write."""
        if record.image_format == RAW_FORMAT or not self.image_archive.policy.takes(record.image_sha256):
            return None
        # Their clocks may differ.
        age_s = abs((datetime.now(UTC) - record.created_at).total_seconds())
        until_s = time.monotonic() + _WRITTEN_WITHIN_S - age_s
        while time.monotonic() < until_s:
            time.sleep(_LOOK_AGAIN_S)
            content = self.image_archive.find(record.image_sha256)
            if content is not None:
                return content
        return None

    def draw(self, record: PredictionRecord, request: ExplainRequest) -> bytes:
        """The picture of the evidence, made anew by the version that answered; the file of one kind of picture.

        Raises:
            ImageNotKeptError: The archive does not have the image.
            ExplainRequestError: The model has no such class.
            UnexplainableError: The bundle lacks what explanations are made of.
            OnsightError: The bundle cannot be loaded.
        """
        content = self.read_image(record)
        bundle = self.bundle_for(_bundle_name(record))
        check_explain(request, bundle)
        metadata = bundle.metadata
        pixels = read_image(content, metadata.input_width, metadata.input_height, self.limits)
        _, feature_maps = bundle.classifier.run_explained(pixels[np.newaxis])
        files = make_pictures(content, bundle, feature_maps[0], request, record.top_class, self.limits)
        return next(file for file in files if file is not None)

    def metadata(self, record: PredictionRecord) -> BundleMetadata:
        """What the version that answered is.

        Raises:
            UnknownModelError: It is no longer in storage.
            BundleError: Its metadata cannot be read.
            StorageError: Storage does not answer.
        """
        return self.metadata_for(_bundle_name(record))

    def name_classes(self, record: PredictionRecord) -> dict[str, float] | None:
        """The probabilities by class; None when the version's metadata cannot be read any more."""
        try:
            classes = self.metadata(record).classes
        except OnsightError:
            return None
        if len(classes) != len(record.probabilities):
            return None
        return dict(zip(classes, record.probabilities, strict=True))


def _bundle_name(record: PredictionRecord) -> str:
    return f"{record.model_name}-v{record.model_version}"
