"""The verdict on real photographs: quiet when nothing is wrong, and each fault found, named and weighed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.decomposition import PCA

from onsight.config.dataset import ValidationConfig
from onsight.config.model import ModelConfig
from onsight.domain import CheckFinding, DatasetVersion, Split
from onsight.errors import ConfigError
from onsight.images import decode_image
from onsight.validation import validate_dataset
from onsight.validation.checks import outliers
from onsight.validation.facts import PROPERTIES, gather_facts, measure
from onsight.validation.properties_report import principal_components, property_table

Add = Callable[[Path, str], None]
OFF: dict[str, object] = {"deepchecks_suite": "off"}


@pytest.fixture
def check(model: ModelConfig, tmp_path: Path) -> Callable[..., dict[str, CheckFinding]]:
    """Runs our own checks; answers with the findings by check."""

    def run(dataset: DatasetVersion, changed: ModelConfig = model, **options: object) -> dict[str, CheckFinding]:
        config = ValidationConfig.model_validate(OFF | options)
        verdict = validate_dataset(dataset, changed, config, tmp_path / "report")
        assert verdict.passed == all(finding.severity != "error" for finding in verdict.findings)
        return {finding.check: finding for finding in verdict.findings}

    return run


Check = Callable[..., dict[str, CheckFinding]]


def with_image(dataset: DatasetVersion, split: str, path: Path) -> DatasetVersion:
    """The data set with one more image of the first class."""
    old = dataset.splits[split]
    label = np.eye(1, len(dataset.classes), dtype=np.float32)
    new = Split(split, (*old.paths, path), np.concatenate([old.labels, label]))
    return replace(dataset, splits={**dataset.splits, split: new})


def place(dataset: DatasetVersion, split: str, name: str) -> Path:
    return dataset.root / "images" / split / dataset.classes[0] / name


def test_good_photographs_pass_without_a_finding_of_ours(plankton: DatasetVersion, check: Check) -> None:
    assert check(plankton, outlier_iqr_factor=8) == {}


def test_an_unreadable_image_is_an_error_that_names_it(plankton: DatasetVersion, check: Check) -> None:
    broken = place(plankton, "train", "broken.jpg")
    broken.write_bytes(plankton.splits["train"].paths[0].read_bytes()[:900])
    absent = place(plankton, "test", "absent.jpg")
    finding = check(with_image(with_image(plankton, "train", broken), "test", absent))["unreadable_images"]
    assert finding.severity == "error"
    assert finding.images == (
        "images/train/Actinoptychus/broken.jpg",
        "images/test/Actinoptychus/absent.jpg",
    )
    assert "2 images cannot be read" in finding.message
    assert "is damaged" in finding.message
    assert "No such file" in finding.message


def test_the_same_file_in_two_splits_is_an_error(plankton: DatasetVersion, check: Check) -> None:
    copy = Path(shutil.copy(plankton.splits["train"].paths[0], place(plankton, "test", "copy.jpg")))
    found = check(with_image(plankton, "test", copy))
    finding = found["exact_duplicates_across_splits"]
    assert finding.severity == "error"
    assert set(finding.images) == {
        plankton.splits["train"].paths[0].relative_to(plankton.root).as_posix(),
        "images/test/Actinoptychus/copy.jpg",
    }
    assert "near_duplicates_across_splits" not in found
    within = Path(shutil.copy(plankton.splits["train"].paths[0], place(plankton, "train", "copy.jpg")))
    assert "exact_duplicates_across_splits" not in check(with_image(plankton, "train", within))


def test_a_recompressed_copy_in_another_split_is_a_near_duplicate(plankton: DatasetVersion, check: Check) -> None:
    original = plankton.splits["train"].paths[3]
    copy = place(plankton, "valid", "again.jpg")
    Image.fromarray(decode_image(original.read_bytes())).resize((90, 90)).save(copy, quality=60)
    finding = check(with_image(plankton, "valid", copy))["near_duplicates_across_splits"]
    assert finding.severity == "warning"
    assert set(finding.images) == {
        original.relative_to(plankton.root).as_posix(),
        "images/valid/Actinoptychus/again.jpg",
    }


def test_an_odd_size_and_odd_colours_are_outliers(plankton: DatasetVersion, check: Check) -> None:
    long, purple = place(plankton, "train", "long.png"), place(plankton, "train", "purple.png")
    Image.new("L", (4000, 20), 200).save(long)
    Image.new("RGB", (100, 100), (160, 0, 255)).save(purple)
    found = check(with_image(with_image(plankton, "train", long), "train", purple))
    assert "images/train/Actinoptychus/long.png" in found["size_outliers"].images
    assert "4000 x 20" in found["size_outliers"].message
    assert "images/train/Actinoptychus/purple.png" in found["colour_outliers"].images


def test_class_imbalance_is_measured_on_the_training_split(plankton: DatasetVersion, check: Check) -> None:
    counts = plankton.class_counts("train")
    ratio = max(counts.values()) / min(counts.values())
    assert "class_imbalance" not in check(plankton, max_class_ratio=ratio)
    finding = check(plankton, max_class_ratio=ratio - 0.05)["class_imbalance"]
    assert f"{max(counts.values())} images of" in finding.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: (*c[:-1], "Squid"), "only in the data set Tripos; only in the config Squid"),
        (lambda c: c[::-1], "must be in the order of the annotations' columns: Actinoptychus"),
        (lambda c: c[:-1], "only in the data set Tripos; only in the config none"),
    ],
    ids=["other class", "other order", "class missing"],
)
def test_classes_of_the_config_must_be_those_of_the_data(
    change: Callable[[tuple[str, ...]], tuple[str, ...]],
    message: str,
    plankton: DatasetVersion,
    check: Check,
    model: ModelConfig,
) -> None:
    finding = check(plankton, model.model_copy(update={"classes": change(plankton.classes)}))["label_set_mismatch"]
    assert finding.severity == "error"
    assert message in finding.message


def test_splits_must_hold_every_class_and_one_class_per_image(plankton: DatasetVersion, check: Check) -> None:
    test = plankton.splits["test"]
    labels = test.labels.copy()
    labels[labels[:, 5] == 1] = [1, 1, 0, 0, 0, 0]
    dataset = replace(plankton, splits={**plankton.splits, "test": replace(test, labels=labels)})
    found = [f for f in _all(dataset, check) if f.check == "label_set_mismatch"]
    assert "the split test has no image of Tripos" in found[0].message
    assert "do not have exactly one class" in found[1].message
    assert all("Tripos" in image for image in found[1].images)
    empty = Split("valid", (), np.zeros((0, 6), np.float32))
    found = _all(replace(plankton, splits={**plankton.splits, "valid": empty}), check)
    assert "the split valid has no image" in [f.message for f in found]


def _all(dataset: DatasetVersion, check: Check) -> list[CheckFinding]:
    check(dataset)
    findings = json.loads((dataset.root / "report" / "findings.json").read_text())
    return [CheckFinding(**finding) for finding in findings]


def test_severities_come_from_the_config(plankton: DatasetVersion, check: Check) -> None:
    copy = Path(shutil.copy(plankton.splits["train"].paths[0], place(plankton, "test", "copy.jpg")))
    leaky = with_image(plankton, "test", copy)
    name = "exact_duplicates_across_splits"
    assert check(leaky, severities={name: "warning"})[name].severity == "warning"
    assert name not in check(leaky, severities={name: "ignore"})


def test_deepchecks_writes_one_report_and_its_failed_conditions_are_findings(
    plankton: DatasetVersion, model: ModelConfig, tmp_path: Path
) -> None:
    report_dir = tmp_path / "report"
    for image in plankton.splits["test"].paths:  # another camera: every test picture far darker
        Image.fromarray(decode_image(image.read_bytes()) // 3).save(image)
    for _ in range(2):
        config = ValidationConfig.model_validate({"severities": {"deepchecks": "error"}})
        verdict = validate_dataset(plankton, model, config, report_dir)
    assert sorted(path.name for path in report_dir.iterdir()) == ["deepchecks.html", "findings.json"]
    assert [path.name for path in verdict.reports] == ["findings.json", "deepchecks.html"]
    assert "brightness" in (report_dir / "deepchecks.html").read_text(encoding="utf-8")
    messages = [finding.message for finding in verdict.findings if finding.check == "deepchecks"]
    assert any(message.startswith("FeatureDrift: expected:") for message in messages)
    assert not verdict.passed
    assert os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] == "True"


def test_deepchecks_off_leaves_no_old_report(plankton: DatasetVersion, model: ModelConfig, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "deepchecks.html").write_text("old")
    verdict = validate_dataset(plankton, model, ValidationConfig.model_validate(OFF), tmp_path / "report")
    assert [path.name for path in verdict.reports] == ["findings.json"]


def test_the_vision_suite_without_pytorch_is_a_config_error(
    plankton: DatasetVersion, model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onsight.validation.vision_report.find_spec", lambda name: None)
    config = ValidationConfig(deepchecks_suite="vision")
    with pytest.raises(ConfigError, match="vision needs torch, torchvision, ignite") as caught:
        validate_dataset(plankton, model, config, tmp_path / "report")
    assert "deepchecks_suite: tabular" in caught.value.hint
    assert not (tmp_path / "report").exists()


def test_facts_keep_the_order_of_the_annotations(plankton: DatasetVersion) -> None:
    facts = gather_facts(plankton)
    expected = [
        path.relative_to(plankton.root).as_posix() for split in plankton.splits.values() for path in split.paths
    ]
    assert list(facts.names) == expected
    np.testing.assert_array_equal(facts.labels, np.concatenate([s.labels for s in plankton.splits.values()]))
    sizes = [decode_image((plankton.root / name).read_bytes()).shape[1::-1] for name in expected]
    np.testing.assert_array_equal(np.stack([facts.column("width"), facts.column("height")], axis=1), sizes)


def test_properties_agree_with_opencv(plankton_images: list[Path]) -> None:
    for path in plankton_images[::9]:
        image = decode_image(path.read_bytes())
        found = dict(zip(PROPERTIES, measure(image), strict=True))
        small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
        assert found["brightness"] == pytest.approx(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).mean() / 255, abs=0.02)
        hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
        assert found["saturation"] == pytest.approx(hsv[..., 1].mean() / 255, abs=0.03)
        assert [found[name] for name in ("red", "green", "blue")] == pytest.approx(
            image.mean(axis=(0, 1)) / 255, abs=0.02
        )
        grey = np.asarray(Image.fromarray(image).convert("L").resize((128, 128), Image.Resampling.BILINEAR))
        laplacian = cv2.Laplacian(grey, cv2.CV_64F)[1:-1, 1:-1]
        assert found["blur"] == pytest.approx(laplacian.var(), rel=1e-6)


def test_outliers_agree_with_scipys_quartiles() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=500), [30.0, -30.0]])
    reach = 4 * stats.iqr(values)
    low, high = stats.scoreatpercentile(values, [25, 75])
    np.testing.assert_array_equal(outliers(values, 4, 0), (values < low - reach) | (values > high + reach))
    assert outliers(values, 4, 0).sum() == 2
    assert not outliers(np.full(9, 2.0), 4, 0.05).any()
    assert outliers(np.zeros(0), 4, 0.05).size == 0


def test_principal_components_agree_with_scikit_learn() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (80, 48)).astype(np.uint8)
    fitted_on = np.arange(80) < 50
    ours = principal_components(rows, fitted_on, 5)
    theirs = PCA(5, svd_solver="full").fit(rows[fitted_on] / 255).transform(rows / 255)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)


def test_the_table_names_combinations_of_labels(plankton: DatasetVersion) -> None:
    facts = gather_facts(plankton)
    facts.labels[0] = [1, 1, 0, 0, 0, 0]
    facts.labels[1] = 0
    table = property_table(facts, plankton.classes)
    assert table["label"][0] == "Actinoptychus + Bacillariophyceae"
    assert table["label"][1] == "(none)"
    assert {"component_1", "component_5", *PROPERTIES} <= set(table.columns)
