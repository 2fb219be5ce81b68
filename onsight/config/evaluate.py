"""`evaluate`: which images a network is measured on, and the gate that it must pass to be promoted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from onsight.config.base import Section
from onsight.config.train import MlflowConfig

__all__ = ["AgreementConfig", "EvaluateConfig", "GateConfig", "MetricName"]

MetricName = Literal["accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "pr_auc"]


class GateConfig(Section):
    """What a challenger must show, on the same images as the champion."""

    metric: Literal["accuracy", "balanced_accuracy"] = Field("accuracy", description="compared with the champion's")
    test: Literal["paired_bootstrap", "mcnemar"] = "paired_bootstrap"
    margin: float = Field(0.0, ge=-1, le=1, description="the challenger's gain must be at least this much")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="that the gain is above -max_regression")
    max_regression: float = Field(0.02, ge=0, le=1, description="a loss larger than this must be ruled out")
    minimum: dict[MetricName, float] = Field({}, description="lowest value allowed for each metric named")

    @field_validator("test")
    @classmethod
    def _mcnemar_counts_right_answers(cls, test: str, info: ValidationInfo) -> str:
        metric = info.data.get("metric", "accuracy")
        if test == "mcnemar" and metric != "accuracy":
            raise ValueError(f"mcnemar compares accuracy, not {metric}: use paired_bootstrap")
        return test


class AgreementConfig(Section):
    """How close the exported graph must be to the network, on real images at batch 1, 2 and 32."""

    max_abs_difference: float = Field(1e-3, gt=0, lt=1, description="of any probability")
    min_top1_agreement: float = Field(1.0, gt=0, le=1)
    n_images: int = Field(64, ge=32, le=1024)


class EvaluateConfig(Section):
    """How a network is measured."""

    subset: Literal["valid", "test"] = "test"
    version: str = Field("challenger", description="eval flow: a version number or an alias of model.model_name")
    top_k: int = Field(3, ge=2, le=10)
    bootstrap_samples: int = Field(2000, ge=200, le=100_000)
    batch_size: int = Field(64, ge=1, le=1024)
    seed: int = Field(17, ge=0, lt=2**31)
    worst_n: int = Field(24, ge=0, le=200, description="mistakes on the thumbnail sheet")
    mlflow: MlflowConfig = MlflowConfig()
    gate: GateConfig = GateConfig()
    agreement: AgreementConfig = AgreementConfig()
