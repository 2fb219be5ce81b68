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
    RetentionFlowConfig,
    RetrainFlowConfig,
    ReviewFlowConfig,
    TrainFlowConfig,
)
from onsight.config.model import Architecture, DriftDetection, InputSize, Int8Config, ModelConfig
from onsight.config.monitor import AlertConfig, MonitorConfig, WindowConfig
from onsight.config.reader import read_config
from onsight.config.retention import RowRetention, VersionRetention
from onsight.config.retrain import WEEKDAYS, RetrainingConfig, Weekday
from onsight.config.review import ReviewConfig, ReviewShares
from onsight.config.schedule import SCHEDULE_ANCHOR, ScheduleConfig
from onsight.config.train import Augmenter, Hparams, MlflowConfig, TrainConfig

__all__ = [
    "SCHEDULE_ANCHOR",
    "WEEKDAYS",
    "AgreementConfig",
    "AlertConfig",
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
    "MonitorConfig",
    "MonitorFlowConfig",
    "Name",
    "PrefectDeploymentConfig",
    "RetentionFlowConfig",
    "RetrainFlowConfig",
    "RetrainingConfig",
    "ReviewConfig",
    "ReviewFlowConfig",
    "ReviewShares",
    "RowRetention",
    "ScheduleConfig",
    "Section",
    "Severity",
    "TrainConfig",
    "TrainFlowConfig",
    "ValidationConfig",
    "VersionRetention",
    "Weekday",
    "WindowConfig",
    "read_config",
]
