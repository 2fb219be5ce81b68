"""Chooses the predictions of the served version that a person should look at."""

from __future__ import annotations

from prefect import flow
from prefect.variables import Variable
from rich.console import Console

from flows.launch import launch
from flows.stages import Stages
from flows.summary import RunSummary
from onsight.config import ReviewFlowConfig
from onsight.errors import DependencyError
from onsight.settings import Settings
from onsight.storage import open_store
from tasks.review import choose_for_review

__all__ = ["review_flow", "start"]


def start(config: ReviewFlowConfig, *, resume: bool = False) -> RunSummary:  # noqa: ARG001 - nothing to go on with
    """Run the flow and print its summary."""
    return launch(review_flow, config)


@flow(name="review-queue")
def review_flow(config: ReviewFlowConfig) -> RunSummary:
    """Fill the review queue from the newest predictions of the version in production.

    Raises:
        DependencyError: Nothing was deployed yet, or a server does not answer.
    """
    settings = Settings()
    stages = Stages(Console())
    metadata_file = Variable.get("current_model_metadata_file")
    if not metadata_file:
        raise DependencyError(
            "no model was deployed yet: the Prefect variable current_model_metadata_file is not set",
            hint="run the deploy flow first",
        )
    with stages.stage("review queue"):
        report = choose_for_review(open_store(settings), str(metadata_file), config.review, settings)
        chosen = ", ".join(f"{count} {reason}" for reason, count in report.n_added.items()) or "nothing"
        stages.say(f"{chosen} chosen among {report.n_looked_at} predictions; {report.n_open} wait for a person")
    return RunSummary(title=f"Review queue of {metadata_file}", timings=stages.timings())
