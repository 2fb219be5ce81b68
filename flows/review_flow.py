"""Chooses the predictions of the served version that a person should look at."""

from __future__ import annotations

from prefect import flow
from rich.console import Console

from flows.launch import launch
from flows.stages import Stages
from flows.summary import RunSummary
from onsight.config import ReviewFlowConfig
from onsight.settings import Settings
from onsight.storage import open_store
from tasks.review import choose_for_review
from tasks.served import served_metadata_file

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
    with stages.stage("review queue"):
        metadata_file = served_metadata_file(settings)
        report = choose_for_review(open_store(settings), metadata_file, config.review, settings)
        chosen = ", ".join(f"{count} {reason}" for reason, count in report.n_added.items()) or "nothing"
        stages.say(f"{chosen} chosen among {report.n_looked_at} predictions; {report.n_open} wait for a person")
    return RunSummary(title=f"Review queue of {metadata_file}", timings=stages.timings())
