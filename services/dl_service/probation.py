"""How a served model fares, and whether a new one fares so much worse that it has to go."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

__all__ = ["ProbationRules", "ServingRecord", "find_fault"]

_REMEMBERED = 200
# Of fewer answers, neither a share of failures nor a median says anything.
_ENOUGH = 20
_FAILURES_IN_A_ROW = 3
# Times below this are noise of the machine, whatever their ratio.
_NOTICEABLE_MS = 5.0


@dataclass(frozen=True)
class ProbationRules:
    """What a new version must live up to in its first requests.

    Attributes:
        requests: How many, in each worker; 0: no probation.
        max_failed_share: Of them.
        max_slowdown: Median inference time, as a multiple of the version's before it.
    """

    requests: int
    max_failed_share: float
    max_slowdown: float


class ServingRecord:
    """Failures and inference times of one model in one process."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self._inference_ms: deque[float] = deque(maxlen=_REMEMBERED)

    def note_answers(self, n_images: int, inference_ms: float) -> None:
        """A batch that was answered."""
        if n_images:
            self.answered += n_images
            self._inference_ms.append(inference_ms / n_images)

    def note_failures(self, n_images: int) -> None:
        """Images that the model could not answer."""
        self.failed += n_images

    def median_ms(self) -> float | None:
        """Inference time of an image; None while too little is known."""
        times_ms = list(self._inference_ms)
        return median(times_ms) if len(times_ms) >= _ENOUGH else None


def find_fault(record: ServingRecord, before_ms: float | None, rules: ProbationRules) -> str:
    """Why a version must go, as its first requests say; empty while nothing speaks against it.

    Args:
        record: Of the new version.
        before_ms: Median inference time of the version before it, if known.
        rules: What it must live up to.
    """
    seen = record.answered + record.failed
    if seen - record.failed > rules.requests:
        return ""
    is_many = record.failed >= _FAILURES_IN_A_ROW and (seen >= _ENOUGH or not record.answered)
    if is_many and record.failed > rules.max_failed_share * seen:
        return f"{record.failed} of its first {seen} images failed"
    now_ms = record.median_ms()
    if now_ms is None or before_ms is None or now_ms < before_ms + _NOTICEABLE_MS:
        return ""
    if now_ms <= rules.max_slowdown * before_ms:
        return ""
    return (
        f"its inference takes {now_ms:.1f} ms, {now_ms / before_ms:.1f} times the {before_ms:.1f} ms of the version "
        f"before it ({rules.max_slowdown:g} times is allowed, ONSIGHT_PROBATION_MAX_SLOWDOWN)"
    )
