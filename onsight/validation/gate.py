"""Runs the checks that the config asks for, and weighs what they find by the config's severities."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from onsight.config.dataset import ValidationConfig
from onsight.config.model import ModelConfig
from onsight.domain import CheckFinding, DatasetVersion, ValidationVerdict
from onsight.validation import checks
from onsight.validation.checks import Problem
from onsight.validation.facts import DatasetFacts, gather_facts
from onsight.validation.properties_report import run_tabular_suite
from onsight.validation.vision_report import require_vision, run_vision_suite

__all__ = ["validate_dataset"]


def validate_dataset(
    dataset: DatasetVersion, model: ModelConfig, config: ValidationConfig, report_dir: Path
) -> ValidationVerdict:
    """Run every check whose severity is not ``ignore``.

    Args:
        dataset: Looked at as it lies on disk; each image is read once.
        model: Says which classes the annotations must have.
        config: Severities and limits.
        report_dir: Gets ``findings.json`` and, where a Deepchecks suite is asked for, ``deepchecks.html``.

    Returns:
        The findings; the verdict passes when none is an error.

    Raises:
        ConfigError: The vision suite is asked for and PyTorch is not installed.
    """
    if config.deepchecks_suite == "vision":
        require_vision()
    report_dir.mkdir(parents=True, exist_ok=True)
    facts = gather_facts(dataset)
    findings: list[CheckFinding] = []
    for name, check in _checks(dataset, model, config, facts, report_dir / "deepchecks.html").items():
        severity = getattr(config.severities, name)
        if severity != "ignore":
            findings += [CheckFinding(name, severity, problem.message, problem.images) for problem in check()]
    reports = (_write_findings(findings, report_dir), *report_dir.glob("deepchecks.html"))
    return ValidationVerdict(tuple(findings), reports)


def _checks(
    dataset: DatasetVersion, model: ModelConfig, config: ValidationConfig, facts: DatasetFacts, report: Path
) -> dict[str, Callable[[], list[Problem]]]:
    """The checks by the name of their severity, in the order in which they run."""
    report.unlink(missing_ok=True)
    suites: dict[str, Callable[[], list[Problem]]] = {
        "tabular": lambda: run_tabular_suite(facts, dataset.classes, report),
        "vision": lambda: run_vision_suite(dataset, report),
        "off": list,
    }
    return {
        "unreadable_images": lambda: checks.unreadable_images(facts),
        "label_set_mismatch": lambda: checks.label_set_mismatch(dataset, model),
        "exact_duplicates_across_splits": lambda: checks.exact_duplicates_across_splits(facts),
        "near_duplicates_across_splits": lambda: checks.near_duplicates_across_splits(facts, config),
        "class_imbalance": lambda: checks.class_imbalance(dataset, config),
        "size_outliers": lambda: checks.size_outliers(facts, config),
        "colour_outliers": lambda: checks.colour_outliers(facts, config),
        "deepchecks": suites[config.deepchecks_suite],
    }


def _write_findings(findings: Sequence[CheckFinding], report_dir: Path) -> Path:
    path = report_dir / "findings.json"
    path.write_text(json.dumps([asdict(finding) for finding in findings], indent=2), encoding="utf-8")
    return path
