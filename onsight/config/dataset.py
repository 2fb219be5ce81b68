"""`dataset` and `validation`: which images, at which version, and what must hold for them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from onsight.config.base import Name, Section

__all__ = ["CheckSeverities", "DatasetConfig", "Severity", "ValidationConfig"]

Severity = Literal["error", "warning", "ignore"]


class DatasetConfig(Section):
    """A git + DVC repository below ``ds_root`` and the version of it to use."""

    ds_root: Path = Path("datasets")
    ds_name: Name
    dvc_tag: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$", description="git tag, such as v2.0.0")
    dvc_checkout: bool = Field(default=True, description="bring the working copy to dvc_tag; false: use it as it is")
    discard_changes: bool = Field(default=False, description="throw uncommitted work in the data set away")


class CheckSeverities(Section):
    """What a finding of each check means: stop the flow, warn, or do not look."""

    unreadable_images: Severity = "error"
    label_set_mismatch: Severity = "error"
    exact_duplicates_across_splits: Severity = "error"
    near_duplicates_across_splits: Severity = "warning"
    class_imbalance: Severity = "warning"
    size_outliers: Severity = "warning"
    colour_outliers: Severity = "warning"
    deepchecks: Severity = "warning"


class ValidationConfig(Section):
    """Which checks run before training, and how strict they are."""

    severities: CheckSeverities = CheckSeverities()
    deepchecks_suite: Literal["tabular", "vision", "off"] = "tabular"
    near_duplicate_max_bits: int = Field(
        10, ge=0, le=32, description="perceptual hashes (128 bits) this close are compared as near duplicates"
    )
    max_class_ratio: float = Field(10.0, ge=1, description="images of the largest class per image of the smallest")
    outlier_iqr_factor: float = Field(4.0, gt=0, description="distance from the quartiles, in interquartile ranges")
