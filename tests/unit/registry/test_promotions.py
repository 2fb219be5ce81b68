"""Promotion records: what they say, and that they are never overwritten."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onsight.domain import GateVerdict, Interval, ModelVersion
from onsight.errors import BundleExistsError
from onsight.registry import PromotionEvidence, record_promotion
from onsight.storage.local import LocalArtifactStore

WHEN = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)
VERSION = ModelVersion("cells", 2, "run-2", aliases=("challenger",))
VERDICT = GateVerdict(
    passed=True,
    reasons=("accuracy gains 0.0500 against cells-v1",),
    metric="accuracy",
    challenger="cells-v2",
    challenger_value=Interval(0.95, 0.93, 0.97),
    champion="cells-v1",
    champion_value=Interval(0.90, 0.87, 0.92),
    difference=Interval(0.05, 0.02, 0.08),
    p_value=0.003,
)
EVIDENCE = PromotionEvidence(
    test="paired_bootstrap",
    n_images=400,
    metrics={"accuracy": Interval(0.95, 0.93, 0.97), "roc_auc": Interval(float("nan"), float("nan"), float("nan"))},
    dataset_name="cells",
    dataset_tag="v2.0.0",
    dataset_revision="0" * 40,
    replaced=ModelVersion("cells", 1, "run-1", aliases=("champion",)),
    report="runs:/run-2/evaluation/report.html",
)


def test_a_record_says_when_why_with_what_evidence_and_what_it_replaced(tmp_path: Path) -> None:
    store = LocalArtifactStore(tmp_path)
    key = record_promotion(store, VERDICT, VERSION, EVIDENCE, WHEN)
    assert key == "promotions/cells/20260304T050607.000890Z-v2.json"
    record = json.loads(store.read_bytes(key))
    assert record["promoted_at"] == "2026-03-04T05:06:07.000890+00:00"
    assert record["why"] == ["accuracy gains 0.0500 against cells-v1"]
    assert record["replaced"] == {"version": 1, "run_id": "run-1"}
    assert record["run_id"] == "run-2"
    assert record["dataset"] == {"name": "cells", "tag": "v2.0.0", "revision": "0" * 40}
    assert record["gate"] == {
        "metric": "accuracy",
        "test": "paired_bootstrap",
        "n_images": 400,
        "challenger": {"name": "cells-v2", "value": 0.95, "low": 0.93, "high": 0.97},
        "champion": {"name": "cells-v1", "value": 0.90, "low": 0.87, "high": 0.92},
        "difference": {"value": 0.05, "low": 0.02, "high": 0.08},
        "p_value": 0.003,
    }
    assert record["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None}


def test_the_first_promotion_replaces_nothing(tmp_path: Path) -> None:
    store = LocalArtifactStore(tmp_path)
    verdict = GateVerdict(True, ("first",), "accuracy", "cells-v1", Interval(0.9, 0.8, 1.0))
    evidence = PromotionEvidence("paired_bootstrap", 10, {}, "cells", "v1.0.0", "0" * 40)
    record = json.loads(store.read_bytes(record_promotion(store, verdict, VERSION, evidence)))
    assert record["replaced"] is None
    assert record["gate"]["champion"] is None
    assert record["gate"]["difference"] is None


def test_records_are_never_overwritten_and_sort_by_time(tmp_path: Path) -> None:
    store = LocalArtifactStore(tmp_path)
    later = record_promotion(store, VERDICT, VERSION, EVIDENCE, WHEN.replace(year=2027))
    earlier = record_promotion(store, VERDICT, VERSION, EVIDENCE, WHEN)
    with pytest.raises(BundleExistsError):
        record_promotion(store, VERDICT, VERSION, EVIDENCE, WHEN)
    assert store.list("promotions/cells") == [earlier, later]


def test_a_verdict_that_did_not_pass_is_not_recorded(tmp_path: Path) -> None:
    failed = GateVerdict(False, ("no",), "accuracy", "cells-v2", Interval(0.5, 0.4, 0.6))
    with pytest.raises(ValueError, match="did not pass"):
        record_promotion(LocalArtifactStore(tmp_path), failed, VERSION, EVIDENCE)
