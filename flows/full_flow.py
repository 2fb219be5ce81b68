"""Everything: from the data set to a service that answers."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from prefect import flow

from flows.context import open_context
from flows.deploy_flow import deploy_bundle_stages
from flows.launch import launch
from flows.summary import RunSummary
from flows.train_flow import Challenger, challenger_links, prepare_training, train_challenger, training_request
from onsight.config import FullFlowConfig
from onsight.settings import Settings
from tasks.evaluation import require_passed
from tasks.release import promote

__all__ = ["full_flow", "start"]


def start(config: FullFlowConfig, *, resume: bool = False) -> RunSummary:
    """Run the flow and print its summary."""
    return launch(full_flow, config, partial(prepare_training, config), resume=resume)


@flow(name="full", validate_parameters=False)
def full_flow(config: FullFlowConfig, *, resume: bool = False) -> RunSummary:
    """Train a challenger; if it passes the gate, promote and deploy it.

    Raises:
        PromotionGateError: It did not pass; the service keeps what it serves.
    """
    with open_context(training_request(config, resume=resume), Settings()) as context:
        challenger = train_challenger(config, context)
        require_passed(challenger.judgement)
        with context.stages.stage("promotion"):
            test = config.evaluate.gate.test
            record = promote(
                challenger.version, challenger.judgement, challenger.dataset, context.registry, context.store, test
            )
        outcome = deploy_bundle_stages(
            challenger.version.bundle_name, config.deploy, context.store, context.settings, context.stages
        )
        return RunSummary(
            title=f"{challenger.version.bundle_name} is in production",
            timings=context.stages.timings(),
            metrics=challenger.judgement.evaluation.metrics,
            champion_metrics=challenger.judgement.champion_metrics,
            verdict=challenger.judgement.verdict,
            notes=challenger.notes,
            links={
                **challenger_links(challenger, context),
                "Promotion": record,
                "Service": outcome.service_url,
                "Metrics": f"{outcome.service_url}/metrics",
            },
            curl=_curl(outcome.service_url, challenger),
        )


def _curl(service_url: str, challenger: Challenger) -> str:
    image = challenger.dataset.splits["test"].paths[0]
    here = Path.cwd()
    shown = image.relative_to(here) if image.is_relative_to(here) else image
    return f"curl -F file=@{shlex.quote(str(shown))} {service_url}/predict"
