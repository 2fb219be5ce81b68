"""The drift report, its cause in words, and the rows of a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from onsight.db import DriftAlertRecord
from onsight.drift import ReferenceData
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.monitoring import (
    Confirmation,
    ReportParts,
    alert_document,
    combined_row,
    draw_galleries,
    feature_title,
    render_report,
    result_rows,
    typical_rows,
)
from tests.unit.monitoring.conftest import CLASSES, N_WINDOW, MakeRun

QUIET = Confirmation(is_confirmed=False, n_drift=0, n_verdicts=1, quiet_until=None)


def render(run_maker: MakeRun, reference: ReferenceData, tmp_path: Path, **changes: float) -> str:
    run = run_maker(**changes)
    archive = ImageArchive(tmp_path / "archive", ArchivePolicy())
    return render_report(run, ReportParts(reference, QUIET, draw_galleries(run, reference, tmp_path, archive)))


def test_report_when_drifted_then_names_what_moved_and_escapes_names(
    make_run: MakeRun, reference: ReferenceData, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    for name in reference.images:
        Image.new("RGB", (20, 10), "red").save(tmp_path / name)

    page = render(make_run, reference, tmp_path, brighter=0.2, shifted=1.5)

    assert "Verdict: <strong>drift</strong>" in page
    assert "brightness rose by" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("data:image/png") == 3
    assert page.count("data:image/jpeg") == 8
    assert "16 of 16 images are not where the monitor looks" in page
    assert "http" not in page.replace("http-equiv", "")


def test_report_when_quiet_or_too_small_then_says_so(
    make_run: MakeRun, reference: ReferenceData, tmp_path: Path
) -> None:
    assert "Verdict: <strong>no drift</strong>" in render(make_run, reference, tmp_path)
    page = render(make_run, reference, tmp_path, count=5)
    assert "Verdict: <strong>not enough data</strong>" in page
    assert "data:image/png" not in page


def test_cause_names_the_most_telling_features_first(make_run: MakeRun) -> None:
    cause = make_run(brighter=0.2, shifted=1.5).cause

    assert cause.startswith("drift in image features, image properties: brightness rose by ")
    assert cause.endswith("; 2 of 6 image features moved")
    assert make_run().cause == "no drift"
    assert make_run(count=5).cause == "not enough data: 5 predictions to test"


def test_rows_of_a_run_are_plain_json_with_versions_effects_and_the_most_drifted(make_run: MakeRun) -> None:
    run = make_run(shifted=1.5)
    rows = result_rows(run)
    combined = combined_row(run, {"confirmed": True})

    assert [row.test for row in rows] == ["uae", "bbsd", "class_mix", "confidence", "properties"]
    assert [row.verdict for row in rows][:2] == ["drift", "no drift"]
    json.dumps([dict(row.details) for row in (*rows, combined)], allow_nan=False)
    uae = rows[0].details
    assert (uae["features"], uae["moved"]) == (6, 2)
    assert {effect["name"] for effect in uae["effects"][:2]} == {"uae_0", "uae_1"}
    assert uae["versions"]["bundle"] == "cells-v3"
    assert (combined.verdict, combined.details["confirmed"], combined.details["window_rows"]) == (
        "drift",
        True,
        N_WINDOW,
    )
    scores = [score for _, score in combined.details["most_drifted"]]
    assert len(scores) == 50
    assert scores == sorted(scores, reverse=True)
    assert combined.window_start is not None
    assert combined.window_end is not None
    assert combined.window_start < combined.window_end


def test_alert_document_names_cause_and_report() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    alert = DriftAlertRecord("run", at, "cells", 3, "drift in image properties: darker", "/storage/r.html")

    document = alert_document(alert, 0.001, {"mlflow": "http://mlflow/#/1"})

    assert document["text"] == "Onsight: cells-v3: drift in image properties: darker. Report: /storage/r.html"
    assert (document["p_value"], document["links"]) == (0.001, {"mlflow": "http://mlflow/#/1"})
    json.dumps(document)


def test_typical_rows_are_those_in_the_middle_whatever_the_outliers() -> None:
    features = np.array([[0.0, 0.0], [1e9, 0.0], [1.0, 1.0], [-1.0, 1.0], [0.1, 0.1]])

    assert typical_rows(features, 2) == [4, 0]
    assert typical_rows(features[:0], 2) == []


def test_feature_title_uses_class_names() -> None:
    names = ("class_1", "bbsd_0", "uae_7", "class_9", "confidence", "format PNG")

    assert [feature_title(name, CLASSES) for name in names] == [
        f"class {CLASSES[1]}", "probability of good", "image feature 7", "image feature 9", "confidence", "format PNG",
    ]  # fmt: skip
