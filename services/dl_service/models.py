"""Which bundle the service serves: loading beside the old one, one swapped reference, the wish kept in the database."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from onsight.bundle import Bundle
from onsight.db import Database, DesiredModel, newest_desired, record_desired, upgrade
from onsight.errors import DependencyError, OnsightError
from services.dl_service.errors import NoModelError

__all__ = ["DesiredMemory", "ModelControl", "ServedModel", "Update"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """A loaded and verified bundle; a request keeps the one it began with.

    Attributes:
        loaded_at: UTC.
    """

    bundle: Bundle
    loaded_at: datetime

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bundle.metadata.bundle_name


@dataclass(frozen=True)
class Update:
    """What an update did."""

    current: ServedModel
    previous: str | None


class DesiredMemory:
    """The newest wish that this host has seen, in a file: what to serve when the database is down at start-up."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def remember(self, bundle_name: str) -> None:
        """Keeps it; a disk that fails costs the memory alone."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps({"bundle_name": bundle_name}))
            fresh.replace(self._path)
        except OSError as error:
            _LOG.warning("the desired version cannot be remembered in %s: %s", self._path, error.strerror)

    def recall(self) -> str | None:
        """The bundle's name, or None."""
        try:
            return str(json.loads(self._path.read_text())["bundle_name"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


class ModelControl:
    """Holds the served model. Loading blocks: call it from a thread.

    Args:
        load: Gives a bundle by name, its checksums verified and its golden outputs replayed.
    """

    def __init__(self, load: Callable[[str], Bundle], database: Database, memory: DesiredMemory) -> None:
        self._load = load
        self._database = database
        self._memory = memory
        self._update_lock = threading.Lock()
        self._current: ServedModel | None = None
        self._why_none = "no model was ever deployed here"

    @property
    def current(self) -> ServedModel:
        """The model that takes traffic.

        Raises:
            NoModelError: There is none; the message says why.
        """
        if self._current is None:
            raise NoModelError(
                f"the service has no model: {self._why_none}", "deploy one: PUT /update_model/<model>.yaml"
            )
        return self._current

    def restore(self) -> None:
        """Serves the desired version, if there is one and it loads; the service starts in any case."""
        name = self._desired_name()
        if name is None:
            return
        try:
            self._current = ServedModel(self._load(name), datetime.now(UTC))
        except OnsightError as error:
            self._why_none = f"{name} could not be loaded"
            _LOG.error("the desired version %s could not be loaded: %s", name, error)
        else:
            self._memory.remember(name)
            _LOG.info("serving %s", name)

    def update(self, name: str, requested_by: str, reason: str) -> Update:
        """Loads and verifies a bundle, records the wish, then swaps; on any failure the old one stays.

        Raises:
            UnknownModelError: Central storage holds no such bundle.
            BundleError: The bundle is damaged or does not replay its golden outputs.
            StorageError: Central storage cannot be read.
            DependencyError: The wish cannot be recorded.
        """
        with self._update_lock:
            previous = self._current
            fresh = ServedModel(self._load(name), datetime.now(UTC))
            metadata = fresh.bundle.metadata
            upgrade(self._database)
            record_desired(
                self._database, metadata.model_name, metadata.version, requested_by=requested_by, reason=reason
            )
            self._memory.remember(name)
            self._current = fresh
            _LOG.info("serving %s", name, extra={"fields": {"previous": previous.name if previous else None}})
            return Update(fresh, previous.name if previous else None)

    def desired(self) -> DesiredModel | None:
        """The newest wish.

        Raises:
            DependencyError: The database does not answer.
        """
        return newest_desired(self._database)

    def check_answer(self) -> ServedModel:
        """Asks the served model for one real inference.

        Raises:
            NoModelError: There is no model, or its answer is none.
        """
        model = self.current
        try:
            output = model.bundle.classifier.run(model.bundle.golden.images[:1])
        except Exception as error:
            raise NoModelError(f"the model {model.name} fails to answer") from error
        if not np.isfinite(output.probabilities).all():
            raise NoModelError(f"the model {model.name} answers with numbers that are not finite")
        return model

    def _desired_name(self) -> str | None:
        try:
            upgrade(self._database)
            desired = newest_desired(self._database)
        except DependencyError as error:
            remembered = self._memory.recall()
            self._why_none = "the database that says which one does not answer"
            _LOG.warning("%s; serving what was served before: %s", error.message, remembered)
            return remembered
        return desired.bundle_name if desired else None
