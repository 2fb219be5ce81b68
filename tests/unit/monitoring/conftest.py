"""Runs of the monitor on made-up features of which a part moved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from onsight.config import MonitorConfig
from onsight.db import PredictionWindow, uuid7
from onsight.domain import BundleMetadata
from onsight.drift import DriftPolicy, ReferenceData, judge_sample
from onsight.monitoring import MonitorRun, reference_sample, window_sample

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLASSES = ("good", "<script>alert(1)</script>")
N_REFERENCE, N_WINDOW, DIMS = 200, 80, 6

MakeRun = Callable[..., MonitorRun]


def metadata() -> BundleMetadata:
    return BundleMetadata(
        model_name="cells", version=3, classes=CLASSES, classifier_type="multi-class", architecture="small_cnn",
        input_width=32, input_height=32, uae_dims=DIMS, run_id="r", created_at=NOON, dataset_name="cells",
        dataset_tag="v1.0.0", dataset_revision="0" * 40, metrics={}, drift_detector="native", drift_test="ks",
        drift_p_value=0.01, reference_rows=N_REFERENCE, sha256="ab" * 32,
    )  # fmt: skip


def draw(seed: int, count: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    random = np.random.default_rng(seed)
    first = random.beta(4, 2, count)
    return {
        "uae": random.normal(size=(count, DIMS)),
        "probabilities": np.column_stack([first, 1 - first]),
        "brightness": random.normal(0.5, 0.05, count),
    }


@pytest.fixture(scope="session")
def reference() -> ReferenceData:
    drawn = draw(1, N_REFERENCE)
    probabilities = drawn["probabilities"].astype(np.float32)
    size = np.full(N_REFERENCE, 64.0)
    return ReferenceData(
        images=tuple(f"images/{row}.png" for row in range(N_REFERENCE)),
        labels=(("good",),) * N_REFERENCE,
        uae_features=drawn["uae"].astype(np.float32),
        bbsd_features=probabilities,
        probabilities=probabilities,
        properties={"brightness": drawn["brightness"], "width": size, "height": size},
        formats=("PNG",) * N_REFERENCE,
    )


@pytest.fixture(scope="session")
def make_run(reference: ReferenceData) -> MakeRun:
    def make(count: int = N_WINDOW, brighter: float = 0.0, shifted: float = 0.0) -> MonitorRun:
        drawn = draw(2, count)
        drawn["uae"][:, :2] += shifted
        probabilities = drawn["probabilities"].astype(np.float32).astype(np.float64)
        size = np.full(count, 64.0)
        window = PredictionWindow(
            n_rows=count,
            prediction_ids=tuple(uuid7() for _ in range(count)),
            created_at=tuple(NOON - timedelta(minutes=row) for row in range(count)),
            uae_feats=drawn["uae"],
            bbsd_feats=probabilities,
            probabilities=probabilities,
            properties={"brightness": drawn["brightness"] + brighter, "width": size, "height": size},
            formats=("PNG",) * count,
            clients=("127.0.0.1",) * count,
            image_digests=("0" * 64,) * count,
        )
        judgement = judge_sample(reference_sample(reference), window_sample(window), DriftPolicy())
        return MonitorRun(uuid7(), NOON, metadata(), window, judgement, MonitorConfig())

    return make
