"""Which bundle a worker serves: loading beside the old one, one swapped reference, the wish kept in the database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from onsight.bundle import Bundle
from onsight.db import (
    Database,
    DesiredModel,
    newest_desired,
    record_desired,
    record_rollback,
    rollback_target,
    upgrade,
)
from onsight.errors import BundleError, DependencyError, OnsightError
from services.dl_service.desired_memory import DesiredMemory
from services.dl_service.errors import NoModelError, NothingToRollBackError
from services.dl_service.probation import ProbationRules, ServingRecord, find_fault

__all__ = ["ModelControl", "ServedModel"]

_LOG = logging.getLogger(__name__)
_UNKNOWN_SEQ = -1
_LONGEST_RETRY_PAUSE_S = 60.0


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A loaded and verified bundle; a request keeps the one it began with.

    Attributes:
        wish: Why it is served; None when the database was down at the start.
        before_ms: Median inference time of the model served before it, if known.
        loaded_at: UTC.
    """

    bundle: Bundle
    wish: DesiredModel | None
    before_ms: float | None = None
    record: ServingRecord = field(default_factory=ServingRecord)
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bundle.metadata.bundle_name


class ModelControl:
    """Holds the model that this worker serves. All but ``current`` may block: call it from a thread.

    Args:
        load: Gives a bundle by name, its checksums verified and its golden outputs replayed.
        on_swap: Called with the model that takes traffic from now on.

    Attributes:
        seen_seq: The newest wish that was dealt with.
        problem: Why that wish is not what is served; empty when it is.
    """

    def __init__(
        self,
        load: Callable[[str], Bundle],
        database: Database,
        memory: DesiredMemory,
        rules: ProbationRules,
        on_swap: Callable[[ServedModel], None],
    ) -> None:
        self.seen_seq = _UNKNOWN_SEQ
        self.problem = ""
        self._load = load
        self._database = database
        self._memory = memory
        self._rules = rules
        self._on_swap = on_swap
        self._lock = threading.Lock()
        self._current: ServedModel | None = None
        self._why_none = "no model was ever deployed here"
        self._retry_pause_s = 1.0
        self._retry_at_s = 0.0
        self._taken_back_seq = _UNKNOWN_SEQ

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

    @property
    def name(self) -> str:
        """Of the bundle that takes traffic; empty when there is none."""
        return self._current.name if self._current else ""

    def bundle(self) -> Bundle | None:
        """The bundle that takes traffic, or None."""
        return self._current.bundle if self._current else None

    def restore(self) -> None:
        """Serves the desired version, if there is one and it loads; the service starts in any case."""
        try:
            upgrade(self._database)
            self.follow()
            if self._current is None:
                self.follow()  # what a damaged bundle was taken back to
        except DependencyError as error:
            name = self._memory.recall()
            self._why_none = "the database that says which one does not answer"
            _LOG.warning("%s; serving what was served before: %s", error.message, name)
            if name is not None:
                with self._lock:
                    self._try(name, None)

    def follow(self) -> None:
        """Serves the newest wish, if it is not served yet. One that does not load is taken back, by whoever finds out.

        Raises:
            DependencyError: The database does not answer.
        """
        wish = newest_desired(self._database)
        with self._lock:
            if wish is None or (wish.seq <= self.seen_seq and not self._is_time_to_retry()):
                return
            had_one = self._current is not None
            error = self._try(wish.bundle_name, wish)
            self.problem, self.seen_seq = error.message if error else "", wish.seq
            self._retry_later()
        # A worker that has nothing to serve tries again when storage is away, and tells when the bundle is damaged.
        if error is not None and (had_one or isinstance(error, BundleError)):
            self._take_back(wish, f"{wish.bundle_name} could not be loaded: {error.message}")

    def update(self, name: str, requested_by: str, reason: str) -> DesiredModel:
        """Loads and verifies a bundle, records the wish, then swaps; on any failure the old one stays.

        Raises:
            UnknownModelError: Central storage holds no such bundle.
            BundleError: The bundle is damaged or does not replay its golden outputs.
            StorageError: Central storage cannot be read.
            NoModelError: It does not answer.
            DependencyError: The wish cannot be recorded.
        """
        with self._lock:
            bundle = self._load_checked(name)
            metadata = bundle.metadata
            upgrade(self._database)
            wish = record_desired(
                self._database, metadata.model_name, metadata.version, requested_by=requested_by, reason=reason
            )
            self._serve(bundle, wish)
            return wish

    def rollback(self, requested_by: str, reason: str) -> DesiredModel:
        """As ``update``, to what was served before.

        Raises:
            NothingToRollBackError: Nothing was served before, or another wish has come meanwhile.
            OnsightError: As ``update``; nothing was changed.
        """
        with self._lock:
            newest, target = newest_desired(self._database), rollback_target(self._database)
            if newest is None or target is None:
                raise NothingToRollBackError("no version was served before this one", "deploy one: PUT /update_model")
            bundle = self._load_checked(target.bundle_name)
            wish = record_rollback(self._database, newest, requested_by=requested_by, reason=reason)
            if wish is None:
                raise NothingToRollBackError("another version was asked for meanwhile", "see GET /models/current")
            self._serve(bundle, wish)
            return wish

    def judge(self) -> None:
        """Takes the served model back if its first requests speak against it.

        Raises:
            DependencyError: The database does not answer.
        """
        model = self._current
        if model is None or model.wish is None or model.wish.kind == "rollback":
            return
        if model.wish.seq == self._taken_back_seq:
            return
        if fault := find_fault(model.record, model.before_ms, self._rules):
            self._take_back(model.wish, f"{model.name} did not pass its probation: {fault}")
            self.follow()

    def check_answer(self) -> ServedModel:
        """Asks the served model for one real inference.

        Raises:
            NoModelError: There is no model, or its answer is none.
        """
        model = self.current
        _check_answer(model.bundle)
        return model

    def _is_time_to_retry(self) -> bool:
        """Whether a worker without any model should try again: storage may have come back."""
        return self._current is None and time.monotonic() >= self._retry_at_s

    def _retry_later(self) -> None:
        self._retry_at_s = time.monotonic() + self._retry_pause_s
        self._retry_pause_s = min(_LONGEST_RETRY_PAUSE_S, self._retry_pause_s * 2)

    def _take_back(self, wish: DesiredModel, reason: str) -> None:
        """Once for each wish: what cannot be taken back now never can."""
        if wish.seq == self._taken_back_seq:
            return
        done = record_rollback(self._database, wish, requested_by="probation", reason=reason)
        newest = newest_desired(self._database)
        self._taken_back_seq = wish.seq
        if done is not None:
            outcome = f"back to {done.bundle_name}"
        elif newest is not None and newest.seq == wish.seq:
            outcome = "there is nothing to go back to"
        else:
            outcome = "another wish has come since"
        _LOG.error("%s; %s", reason, outcome)

    def _load_checked(self, name: str) -> Bundle:
        bundle = self._load(name)
        _check_answer(bundle)
        return bundle

    def _serve(self, bundle: Bundle, wish: DesiredModel) -> None:
        self._swap(bundle, wish)
        self.problem, self.seen_seq = "", wish.seq

    def _try(self, name: str, wish: DesiredModel | None) -> OnsightError | None:
        """Serves a bundle; answers what kept it from being served."""
        if self._current is not None and self.name == name:
            # The same bundle by a newer wish, which is the one that probation would take back.
            self._current = replace(self._current, wish=wish or self._current.wish)
            return None
        try:
            self._swap(self._load(name), wish)
        except OnsightError as error:
            if self._current is None:
                self._why_none = f"{name} could not be loaded"
            _LOG.error("%s could not be loaded: %s", name, error)
            return error
        return None

    def _swap(self, bundle: Bundle, wish: DesiredModel | None) -> None:
        previous = self._current
        self._current = ServedModel(bundle, wish, previous.record.median_ms() if previous else None)
        self._memory.remember(self._current.name)
        self._on_swap(self._current)
        fields = {"previous": previous.name if previous else None, "variant": bundle.variant}
        _LOG.info("serving %s", self._current.name, extra={"fields": fields})


def _check_answer(bundle: Bundle) -> None:
    name = bundle.metadata.bundle_name
    try:
        output = bundle.classifier.run(bundle.golden.images[:1])
    except Exception as error:
        raise NoModelError(f"the model {name} fails to answer") from error
    if not np.isfinite(output.probabilities).all():
        raise NoModelError(f"the model {name} answers with numbers that are not finite")
