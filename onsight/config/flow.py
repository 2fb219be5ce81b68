"""The whole config of each flow; `flow_module` tells them apart."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from onsight.config.base import Section
from onsight.config.dataset import DatasetConfig, ValidationConfig
from onsight.config.deploy import DeployConfig
from onsight.config.evaluate import EvaluateConfig
from onsight.config.model import ModelConfig
from onsight.config.monitor import MonitorConfig
from onsight.config.review import ReviewConfig
from onsight.config.train import TrainConfig

__all__ = [
    "DeployFlowConfig",
    "EvalFlowConfig",
    "FlowConfig",
    "FullFlowConfig",
    "MonitorFlowConfig",
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


class ReviewFlowConfig(Section):
    """Chooses the predictions of the served version that a person should look at."""

    flow_module: Literal["flows.review_flow"]
    review: ReviewConfig = ReviewConfig()


FlowConfig = Annotated[
    TrainFlowConfig | EvalFlowConfig | DeployFlowConfig | FullFlowConfig | MonitorFlowConfig | ReviewFlowConfig,
    Field(discriminator="flow_module"),
]
