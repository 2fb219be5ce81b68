"""From a judgement to the rows of ``drift_results``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

import onsight
from onsight.config import MonitorConfig
from onsight.db import DriftResultRecord, PredictionWindow
from onsight.domain import BundleMetadata, DriftVerdict
from onsight.drift import FeatureEffect, Judgement
from onsight.monitoring.cause import name_cause
from onsight.monitoring.features import moved_features

__all__ = ["MonitorRun", "combined_row", "most_drifted", "result_rows"]

_MOST_DRIFTED = 50
_MOST_EFFECTS = 20


@dataclass(frozen=True)
class MonitorRun:
    """One run of the drift monitor: who was tested, and what came of it.

    Attributes:
        run_id: A UUID.
        tested_at: UTC.
    """

    run_id: str
    tested_at: datetime
    metadata: BundleMetadata
    window: PredictionWindow
    judgement: Judgement
    config: MonitorConfig

    @property
    def cause(self) -> str:
        """One sentence."""
        return name_cause(self.judgement, self.metadata.classes)


def result_rows(run: MonitorRun) -> list[DriftResultRecord]:
    """One row for each test, with the effects of its features."""
    return [_row(run, verdict, _test_details(run, verdict)) for verdict in run.judgement.tests]


def combined_row(run: MonitorRun, details: Mapping[str, Any] | None = None) -> DriftResultRecord:
    """The row of the run's verdict.

    Args:
        run: The run.
        details: Added to the versions, the cause and the most drifted predictions.
    """
    own = {
        **_versions(run),
        "cause": run.cause,
        "window_rows": run.window.n_rows,
        "read_rows": len(run.window),
        "most_drifted": most_drifted(run),
    }
    return _row(run, run.judgement.combined, own | dict(details or {}))


def most_drifted(run: MonitorRun, count: int = _MOST_DRIFTED) -> list[list[Any]]:
    """Ids of the window's predictions that lie farthest from the reference, with their scores; 1 is typical."""
    scores = run.judgement.row_scores
    farthest = np.argsort(-scores, kind="stable")[:count]
    return [[run.window.prediction_ids[row], round(float(scores[row]), 4)] for row in farthest]


def _row(run: MonitorRun, verdict: DriftVerdict, details: dict[str, Any]) -> DriftResultRecord:
    times = run.window.created_at
    return DriftResultRecord(
        run_id=run.run_id,
        tested_at=run.tested_at,
        model_name=run.metadata.model_name,
        model_version=run.metadata.version,
        test=verdict.features,
        detector=verdict.detector,
        verdict=verdict.outcome,
        statistic=verdict.statistic,
        p_value=verdict.p_value,
        threshold=verdict.threshold,
        n_reference=verdict.n_reference,
        n_window=verdict.n_window,
        window_start=times[-1] if times else None,
        window_end=times[0] if times else None,
        details=details,
    )


def _test_details(run: MonitorRun, verdict: DriftVerdict) -> dict[str, Any]:
    effects = [effect for effect in run.judgement.effects if effect.test == verdict.features]
    largest = sorted(effects, key=lambda effect: -effect.statistic)[:_MOST_EFFECTS]
    return {
        **_versions(run),
        "features": len(effects),
        "moved": len(moved_features(effects, verdict.threshold)),
        "effects": [_plain(effect) for effect in largest],
    }


def _versions(run: MonitorRun) -> dict[str, Any]:
    metadata = run.metadata
    return {
        "versions": {
            "onsight": onsight.__version__,
            "bundle": metadata.bundle_name,
            "bundle_sha256": metadata.sha256,
            "dataset": f"{metadata.dataset_name} {metadata.dataset_tag}",
        }
    }


def _plain(effect: FeatureEffect) -> dict[str, Any]:
    # An infinite shift is no JSON.
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(effect).items()
    }
