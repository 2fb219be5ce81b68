"""The policy applied for real: each decision is written down, and what came of a training is added to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from onsight.config import RetrainingConfig
from onsight.db import (
    NOT_FIRED,
    Database,
    DecisionRecord,
    claim_retraining,
    finish_retraining,
    record_decision,
    retraining_history,
)
from onsight.errors import OnsightError, PromotionGateError
from onsight.retraining.policy import Decision, decide, pending_dataset_tag

__all__ = ["Claim", "RetrainingRequest", "Ruling", "Training", "recorded_training", "rule"]


@dataclass(frozen=True)
class RetrainingRequest:
    """Who asks.

    Attributes:
        flow_run_id: Prefect's, or None.
    """

    model_name: str
    policy: RetrainingConfig
    flow_run_id: str | None = None


@dataclass(frozen=True)
class Claim:
    """The right to train a model, while nobody else does.

    Attributes:
        seq: Of the decision in the database.
        model_version: The one that is served.
        pending_tag: The version of the data set that an earlier training was to use and did not, or None.
    """

    seq: int
    model_name: str
    model_version: int
    pending_tag: str | None

    @property
    def bundle_name(self) -> str:
        """Of the version that is served."""
        return f"{self.model_name}-v{self.model_version}"


@dataclass(frozen=True)
class Ruling:
    """A decision that was written down.

    Attributes:
        claim: None if no training may begin.
    """

    decision: Decision
    claim: Claim | None


@dataclass
class Training:
    """What came of a training that is under way."""

    outcome: str = "failed: it ended without a word"

    def promoted(self, bundle_name: str) -> None:
        """The challenger passed the gate and is in production."""
        self.outcome = f"promoted: {bundle_name}"

    def skipped(self, why: str) -> None:
        """There was nothing to train on."""
        self.outcome = f"skipped: {why}"


def rule(database: Database, request: RetrainingRequest, now: datetime) -> Ruling:
    """Decide, write the decision down and, if it fires, claim the one training that may run.

    Raises:
        DependencyError: The database does not answer; nothing was decided.
    """
    history = retraining_history(database, request.model_name)
    decision = decide(request.policy, history, now)
    if decision.fired:
        stale_after = timedelta(hours=request.policy.stale_after_h)
        seq = claim_retraining(database, _record(request, decision, now), stale_after)
        if seq is not None:
            pending_tag = pending_dataset_tag(history)
            return Ruling(decision, Claim(seq, request.model_name, decision.model_version, pending_tag))
        taken = "not met: no training by policy under way; there: one that began a moment ago"
        decision = replace(decision, fired=False, reasons=(*decision.reasons, taken))
    record_decision(database, _record(request, decision, now), NOT_FIRED)
    return Ruling(decision, None)


@contextmanager
def recorded_training(database: Database, seq: int) -> Iterator[Training]:
    """Write down what comes of the block, also when it fails or is interrupted; errors go on their way."""
    training = Training()
    try:
        yield training
    except BaseException as error:
        # A database that is down must not hide what went wrong; the claim then ends by its age.
        with suppress(OnsightError):
            finish_retraining(database, seq, _outcome_of(error))
        raise
    finish_retraining(database, seq, training.outcome)


def _outcome_of(error: BaseException) -> str:
    if isinstance(error, PromotionGateError):
        reasons = error.context.get("reasons")
        return f"refused: {'; '.join(map(str, reasons)) if isinstance(reasons, list) else error.message}"
    if isinstance(error, OnsightError):
        return f"failed: {error.message}"
    return f"failed: {type(error).__name__}: {error}".rstrip(": ")


def _record(request: RetrainingRequest, decision: Decision, now: datetime) -> DecisionRecord:
    return DecisionRecord(
        decided_at=now,
        model_name=request.model_name,
        model_version=decision.model_version,
        fired=decision.fired,
        reasons=decision.reasons,
        new_labels=decision.new_labels,
        flow_run_id=request.flow_run_id,
    )
