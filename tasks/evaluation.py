"""The evaluation's stages: measure a network and the champion on the same images, and let the gate decide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onsight.bundle import load_bundle
from onsight.config import EvaluateConfig, ModelConfig
from onsight.domain import DatasetVersion, GateVerdict, Interval, ModelVersion, ScoredSplit
from onsight.errors import PromotionGateError
from onsight.evaluation import Evaluation, ReportContext, compare, evaluate, write_report
from onsight.registry import ModelRegistry
from onsight.serving import predict_paths
from onsight.storage import ArtifactStore
from onsight.tracking import TrackedRun
from tasks.stage import stage

if TYPE_CHECKING:
    import keras

__all__ = ["Judgement", "Judges", "judge", "require_passed", "score_network", "score_version"]

_MLFLOW_FOLDER = "evaluation"


@dataclass(frozen=True)
class Judgement:
    """How good a network is, and whether it may replace the champion.

    Attributes:
        champion: The version it was compared with, or None for the first model.
        report: The HTML page.
    """

    evaluation: Evaluation
    verdict: GateVerdict
    champion: ModelVersion | None
    champion_metrics: dict[str, Interval]
    report: Path

    def named(self, challenger: str) -> Judgement:
        """The same, with the challenger's name, known once it is registered."""
        return replace(self, verdict=replace(self.verdict, challenger=challenger))


@stage("score")
def score_network(
    network: keras.Model, model: ModelConfig, dataset: DatasetVersion, config: EvaluateConfig
) -> ScoredSplit:
    """Images, labels and the network's probabilities, from one unshuffled pass."""
    from onsight.training import predict_probabilities

    split = dataset.splits[config.subset]
    probabilities = predict_probabilities(network, split.paths, config.batch_size)
    return ScoredSplit(split.name, split.paths, split.labels, probabilities, dataset.classes, model.classifier_type)


@stage("score version")
def score_version(
    store: ArtifactStore, version: ModelVersion, dataset: DatasetVersion, config: EvaluateConfig, cache_dir: Path
) -> ScoredSplit:
    """The same of a published version, answered by its serving graph."""
    bundle = load_bundle(store, version.bundle_name, cache_dir)
    split = dataset.splits[config.subset]
    output = predict_paths(bundle.classifier, split.paths, config.batch_size)
    metadata = bundle.metadata
    return ScoredSplit(
        split.name, split.paths, split.labels, output.probabilities, metadata.classes, metadata.classifier_type
    )


@dataclass(frozen=True)
class Judges:
    """What the gate needs beside the challenger's answers."""

    store: ArtifactStore
    registry: ModelRegistry
    run: TrackedRun
    dataset: DatasetVersion
    work_dir: Path


@stage("gate")
def judge(scored: ScoredSplit, model_name: str, challenger: str, config: EvaluateConfig, judges: Judges) -> Judgement:
    """Measure, compare with the champion on the same images, write the report and log all of it."""
    evaluation = evaluate(scored, config)
    champion = judges.registry.resolve(model_name, "champion")
    theirs = None
    champion_metrics: dict[str, Interval] = {}
    if champion is not None and champion.bundle_name != challenger:
        theirs = score_version.fn(judges.store, champion, judges.dataset, config, judges.work_dir / "bundles")
        champion_metrics = evaluate(theirs, config).metrics
    verdict = compare(
        scored, theirs, evaluation, config.gate, challenger, champion.bundle_name if champion and theirs else ""
    )
    facts = {
        "data set": f"{judges.dataset.name} {judges.dataset.tag} ({judges.dataset.revision[:10]})",
        "images": f"{evaluation.n} of split {scored.name}",
        "run": judges.run.run_id,
    }
    context = ReportContext(f"{model_name}: {challenger}", facts, config.worst_n)
    report = write_report(
        evaluation, scored, judges.work_dir / _MLFLOW_FOLDER, context, verdict, champion_metrics or None
    )
    _log(judges.run, evaluation, verdict, scored.name, report)
    return Judgement(evaluation, verdict, champion if theirs else None, champion_metrics, report)


def require_passed(judgement: Judgement) -> None:
    """Stop the flow unless the challenger passed.

    Raises:
        PromotionGateError: With the gate's reasons.
    """
    verdict = judgement.verdict
    if not verdict.passed:
        reasons = "".join(f"\n  {reason}" for reason in verdict.reasons)
        raise PromotionGateError(
            f"{verdict.challenger} did not pass the promotion gate; nothing was deployed{reasons}",
            hint=f"the report says more: {judgement.report}",
            reasons=list(verdict.reasons),
        )


def _log(run: TrackedRun, evaluation: Evaluation, verdict: GateVerdict, split: str, report: Path) -> None:
    metrics = {f"{split}_{name}": value for name, value in evaluation.values().items()}
    for name in evaluation.values():
        metrics[f"{split}_{name}_low"] = evaluation.metrics[name].low
        metrics[f"{split}_{name}_high"] = evaluation.metrics[name].high
    run.log_metrics(metrics)
    run.log_artifact(report.parent, _MLFLOW_FOLDER)
    run.set_tags({"onsight.promotion_gate": "passed" if verdict.passed else "failed"})
