"""The data set's stages: bring the tag to disk, and check the images before anything is trained on them."""

from __future__ import annotations

from pathlib import Path

from onsight.config import DatasetConfig, ModelConfig, ValidationConfig
from onsight.datasets import checkout_dataset
from onsight.domain import DatasetVersion, ValidationVerdict
from onsight.errors import DataGateError
from onsight.tracking import TrackedRun
from onsight.validation import validate_dataset
from tasks.stage import stage

__all__ = ["check_dataset", "prepare_dataset"]

_SHOWN_IMAGES = 5


@stage("data set")
def prepare_dataset(config: DatasetConfig, run: TrackedRun) -> DatasetVersion:
    """Check the data set out at its tag and log tag, revision, split sizes and class counts to the run."""
    dataset = checkout_dataset(config)
    run.log_dataset(dataset)
    return dataset


@stage("validation")
def check_dataset(
    dataset: DatasetVersion, model: ModelConfig, config: ValidationConfig, run: TrackedRun, report_dir: Path
) -> ValidationVerdict:
    """Validate the data set, log the reports, and stop the flow on a finding of severity ``error``.

    Raises:
        DataGateError: Naming the checks and the images.
    """
    verdict = validate_dataset(dataset, model, config, report_dir)
    for report in verdict.reports:
        run.log_artifact(report, "validation")
    run.set_tags({"onsight.data_gate": "passed" if verdict.passed else "failed"})
    if not verdict.passed:
        raise _gate_error(dataset, verdict)
    return verdict


def _gate_error(dataset: DatasetVersion, verdict: ValidationVerdict) -> DataGateError:
    errors = [finding for finding in verdict.findings if finding.severity == "error"]
    lines = []
    for finding in errors:
        shown = "".join(f"\n    {image}" for image in finding.images[:_SHOWN_IMAGES])
        more = len(finding.images) - _SHOWN_IMAGES
        lines.append(f"\n  {finding.check}: {finding.message}{shown}" + (f"\n    and {more} more" if more > 0 else ""))
    return DataGateError(
        f"data set {dataset.name} at {dataset.tag} did not pass validation{''.join(lines)}",
        hint="mend the images, or set the check's severity in validation.severities",
        checks=[finding.check for finding in errors],
    )
