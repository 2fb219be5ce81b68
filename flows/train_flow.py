"""Data set, validation, training, evaluation, drift detectors, bundle: ends with a registered challenger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from prefect import flow

from flows.context import RunContext, RunRequest, open_context
from flows.launch import launch
from flows.summary import RunSummary
from onsight.config import FullFlowConfig, TrainFlowConfig
from onsight.domain import DatasetVersion, ModelVersion, ScoredSplit
from onsight.settings import Settings
from onsight.storage import open_store
from onsight.tracking import open_tracker
from tasks.dataset import check_dataset, prepare_dataset
from tasks.evaluation import Judgement, Judges, judge, score_network
from tasks.quantization import Int8Outcome, quantize_network
from tasks.release import Release, fit_drift_detectors, publish_version
from tasks.training import ExportedNetwork, build_network, export_network, train_network

__all__ = ["Challenger", "challenger_links", "start", "train_challenger", "train_flow"]


@dataclass(frozen=True)
class Challenger:
    """A registered version with its bundle, and what the gate says of it.

    Attributes:
        notes: What else a person should read.
    """

    version: ModelVersion
    dataset: DatasetVersion
    judgement: Judgement
    notes: tuple[str, ...] = ()


def start(config: TrainFlowConfig, *, resume: bool = False) -> RunSummary:
    """Run the flow and print its summary."""
    return launch(train_flow, config, partial(prepare_training, config), resume=resume)


@flow(name="train", validate_parameters=False)
def train_flow(config: TrainFlowConfig, *, resume: bool = False) -> RunSummary:
    """Train a challenger and register it; the champion stays what it is."""
    with open_context(training_request(config, resume=resume), Settings()) as context:
        challenger = train_challenger(config, context)
        judgement = challenger.judgement
        return RunSummary(
            title=f"{challenger.version.bundle_name} is registered as challenger",
            timings=context.stages.timings(),
            metrics=judgement.evaluation.metrics,
            champion_metrics=judgement.champion_metrics,
            verdict=judgement.verdict,
            notes=challenger.notes,
            links=challenger_links(challenger, context),
        )


def prepare_training(config: TrainFlowConfig | FullFlowConfig, settings: Settings) -> None:
    """Load what training needs, and find what is wrong before a run is opened or the data set is touched.

    Raises:
        StorageError: Central storage cannot be written.
        DependencyError: The tracking server does not answer.
        ConfigError: An augmenter does not take its arguments.
    """
    open_store(settings).check_writable()
    open_tracker(settings).check()
    from onsight.training import Augmentation

    Augmentation(config.train.augmentation)


def training_request(config: TrainFlowConfig | FullFlowConfig, *, resume: bool) -> RunRequest:
    """The run that trains what a config says."""
    sections = (config.model, config.dataset, config.train)
    return RunRequest(f"{config.model.model_name}-train", config.train.mlflow, sections, resume)


def train_challenger(config: TrainFlowConfig | FullFlowConfig, context: RunContext) -> Challenger:
    """Every stage from the data set to the registered challenger."""
    from onsight.training import TrainingJob

    stages, run, work_dir = context.stages, context.run, context.work_dir
    with stages.stage("data set"):
        dataset = prepare_dataset(config.dataset, run)
        stages.say(f"{dataset.name} {dataset.tag}: {_sizes(dataset.split_sizes())}")
    with stages.stage("validation"):
        validated = check_dataset(dataset, config.model, config.validation, run, work_dir / "validation")
        for finding in validated.findings:
            stages.say(f"{finding.severity}: {finding.check}: {finding.message}")
    with stages.stage("model"):
        network = build_network(config.model, config.train, run)
    with stages.stage("training"):
        job = TrainingJob(config.model, config.train, work_dir / "checkpoints", resume=True)
        outcome = train_network(network, dataset, job, run)
    with stages.stage("evaluation and gate"):
        scored = score_network(outcome.network, config.model, dataset, config.evaluate)
        judges = Judges(context.store, context.registry, run, dataset, work_dir)
        judgement = judge(scored, config.model.model_name, "challenger", config.evaluate, judges)
    with stages.stage("serving graph"):
        folder = work_dir / "export"
        exported = export_network(outcome.network, config.model, config.evaluate.agreement, dataset, folder)
    int8 = _quantize(config, context, dataset, exported, scored) if config.model.int8.enabled else None
    return _release(config, context, Release(config.model, dataset, exported, judgement, int8))


def _quantize(
    config: TrainFlowConfig | FullFlowConfig,
    context: RunContext,
    dataset: DatasetVersion,
    exported: ExportedNetwork,
    scored: ScoredSplit,
) -> Int8Outcome:
    with context.stages.stage("int8 variant"):
        outcome = quantize_network(exported, scored, dataset, config.model, context.run)
        context.stages.say(outcome.message)
    return outcome


def _release(config: TrainFlowConfig | FullFlowConfig, context: RunContext, release: Release) -> Challenger:
    stages, dataset = context.stages, release.dataset
    with stages.stage("drift detectors"):
        seed, folder = config.train.hparams.seed, context.work_dir / "drift"
        wanted = config.model.drift_detection
        drift = fit_drift_detectors(release.exported.graph, dataset, wanted, seed, folder)
        if drift.n_rows < wanted.reference_data_n_sample:
            stages.say(f"warning: only {drift.n_rows} held-out images for {wanted.reference_data_n_sample} wanted")
    with stages.stage("registry and storage"):
        version, _ = publish_version(release, drift, context.run, context.registry, context.store)
    notes = (f"int8 variant {release.int8.message}",) if release.int8 else ()
    return Challenger(version, dataset, release.judgement.named(version.bundle_name), notes)


def challenger_links(challenger: Challenger, context: RunContext) -> Mapping[str, str]:
    """Where a person finds the run and its report."""
    return {"MLflow run": context.run.link, "Report": str(challenger.judgement.report)}


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sizes.items())
