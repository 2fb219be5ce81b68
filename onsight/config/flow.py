"""The whole config of each flow; `flow_module` tells them apart."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from onsight.config.base import Section
from onsight.config.dataset import DatasetConfig, ValidationConfig
from onsight.config.deploy import DeployConfig
from onsight.config.evaluate import EvaluateConfig
from onsight.config.model import ModelConfig
from onsight.config.monitor import MonitorConfig
from onsight.config.retention import RowRetention, VersionRetention
from onsight.config.retrain import RetrainingConfig
from onsight.config.review import ReviewConfig
from onsight.config.schedule import ScheduleConfig
from onsight.config.train import TrainConfig

__all__ = [
    "DeployFlowConfig",
    "EvalFlowConfig",
    "FlowConfig",
    "FullFlowConfig",
    "MonitorFlowConfig",
    "RetentionFlowConfig",
    "RetrainFlowConfig",
    "ReviewFlowConfig",
    "TrainFlowConfig",
]


class TrainFlowConfig(Section):
    """Data set, validation, training, evaluation, drift detectors, bundle: ends with a registered challenger."""

    flow_module: Literal["flows.train_flow"]
    model: ModelConfig
    dataset: DatasetConfig
    validation: ValidationConfig = ValidationConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()


class EvalFlowConfig(Section):
    """Measures a registered version on a data set, against the champion."""

    flow_module: Literal["flows.eval_flow"]
    model: ModelConfig
    dataset: DatasetConfig
    evaluate: EvaluateConfig = EvaluateConfig()


class DeployFlowConfig(Section):
    """Points the service at a published bundle."""

    flow_module: Literal["flows.deploy_flow"]
    model: ModelConfig
    deploy: DeployConfig = DeployConfig()


class FullFlowConfig(Section):
    """Everything: from the data set to a service that answers."""

    flow_module: Literal["flows.full_flow"]
    model: ModelConfig
    dataset: DatasetConfig
    validation: ValidationConfig = ValidationConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    deploy: DeployConfig = DeployConfig()


class MonitorFlowConfig(Section):
    """Tests the newest predictions of the served version for drift, and tells people when it is confirmed."""

    flow_module: Literal["flows.monitor_flow"]
    monitor: MonitorConfig = MonitorConfig()


class RetrainFlowConfig(Section):
    """Decides by policy whether to train again; if so, runs the full flow on a new version of the data set."""

    flow_module: Literal["flows.retrain_flow"]
    retraining: RetrainingConfig = RetrainingConfig()
    schedule: ScheduleConfig = ScheduleConfig(every_h=1.0)
    model: ModelConfig
    dataset: DatasetConfig
    validation: ValidationConfig = ValidationConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    deploy: DeployConfig = DeployConfig()

    @field_validator("schedule")
    @classmethod
    def _ever_allowed(cls, schedule: ScheduleConfig, info: ValidationInfo) -> ScheduleConfig:
        policy = info.data.get("retraining")
        if isinstance(policy, RetrainingConfig) and not policy.is_ever_allowed(timedelta(hours=schedule.every_h)):
            begin, end = policy.allowed_hours
            raise ValueError(
                f"every_h: {schedule.every_h:g} h, counted from 1970-01-01 00:00 UTC, are never in "
                f"retraining.allowed_hours [{begin}, {end}] on retraining.allowed_weekdays"
            )
        return schedule

    def full(self, dvc_tag: str) -> FullFlowConfig:
        """The full flow's config, on another version of the data set."""
        return FullFlowConfig(
            flow_module="flows.full_flow",
            model=self.model,
            dataset=self.dataset.model_copy(update={"dvc_tag": dvc_tag}),
            validation=self.validation,
            train=self.train,
            evaluate=self.evaluate,
            deploy=self.deploy,
        )


class RetentionFlowConfig(Section):
    """Says what is too old to keep, and with ``apply: true`` removes it."""

    flow_module: Literal["flows.retention_flow"]
    apply: bool = Field(default=False, description="remove what the report names; false: only report it")
    rows: RowRetention = RowRetention()
    versions: VersionRetention = VersionRetention(keep_newest=5, days=90.0)
    runs: VersionRetention = VersionRetention(keep_newest=20, days=90.0)
    schedule: ScheduleConfig = ScheduleConfig(every_h=24.0)


class ReviewFlowConfig(Section):
    """Chooses the predictions of the served version that a person should look at."""

    flow_module: Literal["flows.review_flow"]
    review: ReviewConfig = ReviewConfig()
    schedule: ScheduleConfig = ScheduleConfig(every_h=24.0)


FlowConfig = Annotated[
    TrainFlowConfig
    | EvalFlowConfig
    | DeployFlowConfig
    | FullFlowConfig
    | MonitorFlowConfig
    | ReviewFlowConfig
    | RetrainFlowConfig
    | RetentionFlowConfig,
    Field(discriminator="flow_module"),
]
