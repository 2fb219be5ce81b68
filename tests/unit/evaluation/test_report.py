"""The report: one file, safe against hostile names, whatever the classes and the images are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onsight.config import EvaluateConfig
from onsight.domain import GateVerdict, Interval, ScoredSplit
from onsight.evaluation import ReportContext, evaluate, write_report
from onsight.evaluation.mistakes import worst_mistakes

MakeSplit = Callable[..., ScoredSplit]
QUICK = EvaluateConfig(bootstrap_samples=200)
VERDICT = GateVerdict(
    passed=False,
    reasons=("accuracy loses 0.0200 against <b>cells-v1</b>",),
    metric="accuracy",
    challenger="cells-v2",
    challenger_value=Interval(0.88, 0.84, 0.91),
    champion="cells-v1",
    champion_value=Interval(0.90, 0.87, 0.93),
    difference=Interval(-0.02, -0.05, 0.01),
    p_value=0.4,
)


def with_images(scored: ScoredSplit, folder: Path) -> ScoredSplit:
    paths = []
    for i in range(len(scored.paths)):
        paths.append(folder / f"{i}.png")
        Image.new("RGB", (20 + i % 30, 40), (i % 256, 90, 160)).save(paths[-1])
    return replace(scored, paths=tuple(paths))


def test_the_page_needs_no_other_file_and_the_plots_lie_beside_it(make_split: MakeSplit, tmp_path: Path) -> None:
    scored = with_images(make_split(n=120), tmp_path)
    evaluation = evaluate(scored, QUICK)
    out = tmp_path / "report"
    page = write_report(
        evaluation, scored, out, ReportContext("cells-v2", {"data set": "cells v1.0.0"}, 8), VERDICT, evaluation.metrics
    )
    html = page.read_text()
    assert page == out / "report.html"
    assert set(re.findall(r'(?:src|href)="([^"]{20})', html)) == {"data:image/png;base6"}
    assert html.count("<img") == 4
    for name in ("confusion_matrix", "reliability", "roc_pr", "worst_mistakes"):
        with Image.open(out / f"{name}.png") as image:
            assert min(image.size) > 200
    assert "not passed" in html
    assert f"{evaluation.metrics['accuracy'].value:.4f}" in html
    assert "cells v1.0.0" in html
    assert "Top-3 accuracy" in html


def test_names_are_text_and_never_markup(make_split: MakeSplit, tmp_path: Path) -> None:
    hostile = ("<script>alert(1)</script>", "$x^", "_a", "&amp;", "ünïcode" * 9)
    scored = replace(make_split(n=60), classes=hostile)
    page = write_report(
        evaluate(scored, QUICK), scored, tmp_path, ReportContext('"><img src=x>', {"<i>": "</dl>"}), VERDICT
    )
    html = page.read_text()
    assert "<script" not in html
    assert "<img src=x>" not in html
    assert "<i>" not in html
    assert "<b>cells-v1</b>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("n_classes", "multi_label"), [(2, False), (30, False), (4, True)], ids=["two", "thirty", "multi-label"]
)
def test_every_kind_of_split_has_a_report(
    make_split: MakeSplit, tmp_path: Path, n_classes: int, *, multi_label: bool
) -> None:
    scored = make_split(n=150, n_classes=n_classes, multi_label=multi_label)
    assert write_report(evaluate(scored, QUICK), scored, tmp_path, ReportContext("any")).is_file()


def test_a_thousand_classes_fit_on_the_page(make_split: MakeSplit, tmp_path: Path) -> None:
    scored = make_split(n=60, n_classes=1000)
    write_report(evaluate(scored, QUICK), scored, tmp_path, ReportContext("many", worst_n=0))
    with Image.open(tmp_path / "confusion_matrix.png") as plot:
        assert max(plot.size) < 2000


def test_names_that_differ_at_the_end_alone_stay_apart(make_split: MakeSplit, tmp_path: Path) -> None:
    long = "a rather long name of one of the classes, number"
    sheets = []
    for i, classes in enumerate(((f"{long} 1", f"{long} 2"), (f"{long} 1", f"{long} 3"))):
        scored = replace(make_split(n=60, n_classes=2), classes=classes)
        write_report(evaluate(scored, QUICK), scored, tmp_path / str(i), ReportContext("long", worst_n=0))
        sheets.append((tmp_path / str(i) / "confusion_matrix.png").read_bytes())
    assert sheets[0] != sheets[1]


def test_a_perfect_network_has_no_sheet_of_mistakes(make_split: MakeSplit, tmp_path: Path) -> None:
    scored = make_split(n=40)
    scored = replace(scored, probabilities=scored.labels)
    html = write_report(evaluate(scored, QUICK), scored, tmp_path, ReportContext("perfect")).read_text()
    assert "Worst mistakes" not in html
    assert not (tmp_path / "worst_mistakes.png").exists()


def test_metrics_that_cannot_be_computed_are_said_to_be_so(make_split: MakeSplit, tmp_path: Path) -> None:
    scored = make_split(n=30, n_classes=3)
    scored = replace(scored, labels=np.tile(np.array([[1, 0, 0]], np.float32), (30, 1)))
    assert "n/a" in write_report(evaluate(scored, QUICK), scored, tmp_path, ReportContext("one class")).read_text()


def test_the_surest_mistakes_come_first() -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    probabilities = np.array([[0.1, 0.6, 0.3], [0.2, 0.7, 0.1], [0.9, 0.1, 0.0], [0.3, 0.3, 0.4]], np.float32)
    paths = tuple(Path(f"{name}.png") for name in "abcd")
    scored = ScoredSplit("test", paths, labels, probabilities, ("x", "y", "z"))
    found = worst_mistakes(scored, 2)
    assert [(m.path.stem, m.true, m.predicted) for m in found] == [("c", "z", "x 0.90"), ("a", "x", "y 0.60")]


def test_multi_label_mistakes_name_the_label_that_is_most_wrong() -> None:
    labels = np.array([[1, 1], [0, 0]], np.float32)
    probabilities = np.array([[0.9, 0.3], [0.2, 0.95]], np.float32)
    scored = ScoredSplit("test", (Path("a"), Path("b")), labels, probabilities, ("x", "y"), "multi-label")
    found = worst_mistakes(scored, 5)
    assert [(m.path.name, m.true, m.predicted) for m in found] == [("b", "none", "y 0.95"), ("a", "x, y", "y 0.30")]
