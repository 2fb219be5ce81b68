"""Measures a registered version on a data set, and says what the promotion gate would."""

from __future__ import annotations

from prefect import flow

from flows.context import RunRequest, open_context
from flows.launch import launch
from flows.summary import RunSummary
from onsight.config import EvalFlowConfig
from onsight.errors import DependencyError
from onsight.settings import Settings
from tasks.dataset import prepare_dataset
from tasks.evaluation import Judges, judge, require_passed, score_version

__all__ = ["eval_flow", "start"]


def start(config: EvalFlowConfig, *, resume: bool = False) -> RunSummary:  # noqa: ARG001 - nothing to go on with
    """Run the flow and print its summary."""
    return launch(eval_flow, config)


@flow(name="evaluate", validate_parameters=False)
def eval_flow(config: EvalFlowConfig) -> RunSummary:
    """Measure the version that ``evaluate.version`` names; nothing is promoted.

    Raises:
        DependencyError: There is no such version.
        PromotionGateError: It would not pass the gate.
    """
    name, wanted = config.model.model_name, config.evaluate.version
    request = RunRequest(f"{name}-evaluate", config.evaluate.mlflow, (config.model, config.dataset, config.evaluate))
    with open_context(request, Settings()) as context:
        version = context.registry.resolve(name, wanted)
        if version is None:
            raise DependencyError(
                f"the registry has no version {wanted!r} of model {name}", hint="train one, or set evaluate.version"
            )
        with context.stages.stage("data set"):
            dataset = prepare_dataset(config.dataset, context.run)
        with context.stages.stage("evaluation and gate"):
            cache_dir = context.work_dir / "bundles"
            scored = score_version(context.store, version, dataset, config.evaluate, cache_dir)
            judges = Judges(context.store, context.registry, context.run, dataset, context.work_dir)
            judgement = judge(scored, name, version.bundle_name, config.evaluate, judges)
        require_passed(judgement)
        return RunSummary(
            title=f"{version.bundle_name} on {dataset.name} {dataset.tag}",
            timings=context.stages.timings(),
            metrics=judgement.evaluation.metrics,
            champion_metrics=judgement.champion_metrics,
            verdict=judgement.verdict,
            links={"MLflow run": context.run.link, "Report": str(judgement.report)},
        )
