"""Decides by policy whether to train again; if so, runs the full flow on a new version of the data set."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import prefect.runtime
from prefect import flow
from rich.console import Console

from flows.full_flow import full_flow
from flows.launch import launch
from flows.stages import Stages
from flows.summary import RunSummary
from flows.train_flow import prepare_training
from onsight.config import FullFlowConfig, RetrainFlowConfig
from onsight.db import open_database, upgrade
from onsight.retraining import RetrainingRequest, recorded_training
from onsight.settings import Settings
from tasks.retraining import decide_retraining, prepare_new_version

__all__ = ["retrain_flow", "start"]


def start(config: RetrainFlowConfig, *, resume: bool = False) -> RunSummary:  # noqa: ARG001 - decided anew each time
    """Run the flow and print its summary."""
    return launch(retrain_flow, config)


@flow(name="retrain")
def retrain_flow(config: RetrainFlowConfig) -> RunSummary:
    """Apply the policy now; train if it fires. The decision and what came of it are kept in the database.

    Raises:
        PromotionGateError: The challenger did not pass; the service keeps what it serves.
    """
    settings = Settings()
    stages = Stages(Console())
    name = config.model.model_name
    with closing(open_database(settings.predictions_database_url)) as database:
        with stages.stage("decision"):
            upgrade(database)
            request = RetrainingRequest(name, config.retraining, prefect.runtime.flow_run.id)
            ruling = decide_retraining(database, request)
            for reason in ruling.decision.reasons:
                stages.say(reason)
        if ruling.claim is None:
            return RunSummary(title=f"{name} is not trained again", timings=stages.timings())
        with recorded_training(database, ruling.claim.seq) as training:
            with stages.stage("new data set version"):
                tag = prepare_new_version(database, ruling.claim, config.dataset, settings)
            if tag is None:
                training.skipped(f"{ruling.claim.bundle_name} was trained on all that there is")
                return RunSummary(title=f"nothing new to train {name} on", timings=stages.timings())
            stages.say(f"trains on {config.dataset.ds_name} {tag}")
            summary = _train(config.full(tag), settings)
            training.promoted(summary.verdict.challenger if summary.verdict else name)
            return replace(summary, title=f"trained again by policy: {summary.title}")


def _train(config: FullFlowConfig, settings: Settings) -> RunSummary:
    prepare_training(config, settings)
    return full_flow(config)
