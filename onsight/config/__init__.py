"""What a run does: typed config sections, and the one reader that reports all problems at once."""

from onsight.config.base import Name, Section
from onsight.config.dataset import CheckSeverities, DatasetConfig, Severity, ValidationConfig
from onsight.config.deploy import DeployConfig, PrefectDeploymentConfig
from onsight.config.evaluate import AgreementConfig, EvaluateConfig, GateConfig, MetricName
from onsight.config.flow import (
    DeployFlowConfig,
    EvalFlowConfig,
    FlowConfig,
    FullFlowConfig,
    MonitorFlowConfig,
    TrainFlowConfig,
)
from onsight.config.model import Architecture, DriftDetection, InputSize, Int8Config, ModelConfig
from onsight.config.reader import read_config
from onsight.config.train import Augmenter, Hparams, MlflowConfig, TrainConfig

__all__ = [
    "AgreementConfig",
    "Architecture",
    "Augmenter",
    "CheckSeverities",
    "DatasetConfig",
    "DeployConfig",
    "DeployFlowConfig",
    "DriftDetection",
    "EvalFlowConfig",
    "EvaluateConfig",
    "FlowConfig",
    "FullFlowConfig",
    "GateConfig",
    "Hparams",
    "InputSize",
    "Int8Config",
    "MetricName",
    "MlflowConfig",
    "ModelConfig",
    "MonitorFlowConfig",
    "Name",
    "PrefectDeploymentConfig",
    "Section",
    "Severity",
    "TrainConfig",
    "TrainFlowConfig",
    "ValidationConfig",
    "read_config",
]
