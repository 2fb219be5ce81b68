"""When a retraining policy would have fired, over what the database holds; writes nothing."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from sqlalchemy.engine import make_url

from onsight.config import FlowConfig, RetrainFlowConfig
from onsight.db import RetrainingHistory, open_database, retraining_history
from onsight.errors import ConfigError
from onsight.retraining import backtest
from onsight.settings import Settings

__all__ = ["print_backtest"]


def print_backtest(config: FlowConfig, settings: Settings) -> None:
    """Print each moment at which the policy would have fired, with its reasons.

    Raises:
        ConfigError: The config has no policy.
        DependencyError: The database does not answer.
    """
    if not isinstance(config, RetrainFlowConfig):
        raise ConfigError(
            f"--backtest replays a retraining policy; {config.flow_module} has none",
            hint="python run_flow.py --config configs/retrain_flow_config.yaml --backtest",
        )
    console, now = Console(), datetime.now(UTC)
    history = _history(config.model.model_name, settings)
    every = timedelta(hours=config.schedule.every_h)
    deployments = sum(not one.other_model for one in history.served)
    firings = 0
    for firing in backtest(config.retraining, history, every, now):
        firings += 1
        console.print(f"{firing.at:%Y-%m-%d %H:%M} UTC  version {firing.decision.model_version}", style="bold")
        for reason in firing.decision.reasons:
            console.print(f"    {reason}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{config.model.model_name}: {firings} trainings by policy, with {len(history.alerts)} alerts, "
        f"{len(history.labels)} labels and {deployments} deployments on record, asked every "
        f"{config.schedule.every_h:g} h; {len(history.retrainings)} in fact",
        highlight=False,
        soft_wrap=True,
    )
    console.print("nothing was written", style="bold")


def _history(model_name: str, settings: Settings) -> RetrainingHistory:
    url = make_url(settings.predictions_database_url)
    # Opening an SQLite file would make it.
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return RetrainingHistory()
    with closing(open_database(settings.predictions_database_url)) as database:
        return retraining_history(database, model_name)
