"""The retraining policy: when a model is trained again without anyone asking, and when it would have been."""

from onsight.retraining.backtest import BacktestFiring, backtest
from onsight.retraining.ledger import (
    Claim,
    RetrainingRequest,
    Ruling,
    Training,
    recorded_training,
    rule,
)
from onsight.retraining.policy import Decision, decide, pending_dataset_tag

__all__ = [
    "BacktestFiring",
    "Claim",
    "Decision",
    "RetrainingRequest",
    "Ruling",
    "Training",
    "backtest",
    "decide",
    "pending_dataset_tag",
    "recorded_training",
    "rule",
]
