"""The release's stages: drift detectors, the registered version with its bundle, and its promotion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from onsight.bundle import BundleParts, OnnxClassifier, publish_bundle
from onsight.config import DriftDetection, ModelConfig
from onsight.datasets import reviewed_names
from onsight.domain import BundleMetadata, DatasetVersion, ModelVersion, Split
from onsight.drift import DetectorSpec, ReferenceData, fit_detector, sample_reference, save_detector, write_reference
from onsight.registry import ModelRegistry, PromotionEvidence, record_promotion
from onsight.serving import AnsweredFiles, predict_files
from onsight.storage import ArtifactStore
from onsight.tracking import TrackedRun
from tasks.evaluation import Judgement
from tasks.quantization import Int8Outcome
from tasks.stage import stage
from tasks.training import ExportedNetwork

__all__ = ["DriftFiles", "Release", "fit_drift_detectors", "make_reference", "promote", "publish_version"]


@dataclass(frozen=True)
class DriftFiles:
    """What the drift detectors left on disk."""

    uae_detector: Path
    bbsd_detector: Path
    reference: Path
    n_rows: int


@dataclass(frozen=True)
class Release:
    """What a version is made of.

    Attributes:
        int8: None when no int8 variant was made.
    """

    model: ModelConfig
    dataset: DatasetVersion
    exported: ExportedNetwork
    judgement: Judgement
    int8: Int8Outcome | None = None


@stage("drift detectors")
def fit_drift_detectors(
    graph: Path, dataset: DatasetVersion, config: DriftDetection, seed: int, folder: Path
) -> DriftFiles:
    """Fit detectors on the features that the serving graph itself gives for held-out images.

    Images of the review queue are left out: they were chosen for being doubtful or far from the others.
    """
    splits = [dataset.splits[name] for name in config.reference_splits]
    sample = sample_reference(splits, config.reference_data_n_sample, seed, reviewed_names(dataset.root))
    reference = make_reference(dataset, sample, predict_files(OnnxClassifier.load(graph), sample.paths))
    folder.mkdir(parents=True, exist_ok=True)
    write_reference(reference, folder / "reference.parquet")
    uae = DetectorSpec("uae", config.detector, config.test, config.p_value, seed)
    bbsd = DetectorSpec("bbsd", config.detector, config.test, config.p_value, seed)
    save_detector(fit_detector(uae, reference.uae_features), folder / "uae")
    save_detector(fit_detector(bbsd, reference.bbsd_features), folder / "bbsd")
    return DriftFiles(folder / "uae", folder / "bbsd", folder / "reference.parquet", len(sample))


def make_reference(dataset: DatasetVersion, sample: Split, answered: AnsweredFiles) -> ReferenceData:
    """The reference data of a sample that the serving graph answered."""
    names = [tuple(name for name, on in zip(dataset.classes, row, strict=True) if on) for row in sample.labels]
    properties = {
        name: np.array([getattr(one, name) for one in answered.properties])
        for name in ("brightness", "contrast", "sharpness")
    }
    widths, heights = np.array(answered.sizes, dtype=np.float64).T
    return ReferenceData(
        images=tuple(path.relative_to(dataset.root).as_posix() for path in sample.paths),
        labels=tuple(names),
        uae_features=answered.output.uae_features,
        bbsd_features=answered.output.bbsd_features,
        probabilities=answered.output.probabilities,
        properties={**properties, "width": widths, "height": heights},
        formats=answered.formats,
    )


@stage("registry and storage")
def publish_version(
    release: Release, drift: DriftFiles, run: TrackedRun, registry: ModelRegistry, store: ArtifactStore
) -> tuple[ModelVersion, BundleMetadata]:
    """Register the next version and publish its bundle; both, or neither.

    Raises:
        DependencyError: The registry does not answer.
        StorageError: Central storage cannot be written.
    """
    size = release.model.input_size
    uri = run.log_model(release.exported.network, (size.h, size.w), release.dataset.classes)
    name = release.model.model_name
    tags = {"dataset": release.dataset.name, "dataset_tag": release.dataset.tag}
    version = registry.register(name, run.run_id, uri, tags)
    exported = release.exported
    parts = BundleParts(
        network=exported.network,
        graph=exported.graph,
        golden=exported.golden,
        uae_detector=drift.uae_detector,
        bbsd_detector=drift.bbsd_detector,
        reference=drift.reference,
        class_weights=exported.class_weights,
        int8=release.int8.parts if release.int8 else None,
    )
    try:
        metadata = publish_bundle(store, parts, _metadata(release, version, drift.n_rows))
    except BaseException:
        registry.delete_version(name, version.version)
        raise
    registry.set_alias(name, "challenger", version.version)
    run.set_tags({"onsight.bundle": version.bundle_name})
    return version, metadata


@stage("promotion")
def promote(
    version: ModelVersion,
    judgement: Judgement,
    dataset: DatasetVersion,
    registry: ModelRegistry,
    store: ArtifactStore,
    test: str,
) -> str:
    """Write the promotion record, then move the alias ``champion``; the record's key.

    In this order a champion always has its record; a record whose alias was not moved is repeated by the next run.
    """
    evidence = PromotionEvidence(
        test=test,
        n_images=judgement.evaluation.n,
        metrics=judgement.evaluation.metrics,
        dataset_name=dataset.name,
        dataset_tag=dataset.tag,
        dataset_revision=dataset.revision,
        replaced=judgement.champion,
        report=judgement.report.name,
    )
    key = record_promotion(store, judgement.verdict, version, evidence)
    registry.set_alias(version.model_name, "champion", version.version)
    return key


def _metadata(release: Release, version: ModelVersion, reference_rows: int) -> BundleMetadata:
    model, dataset, drift = release.model, release.dataset, release.model.drift_detection
    return BundleMetadata(
        model_name=model.model_name,
        version=version.version,
        classes=dataset.classes,
        classifier_type=model.classifier_type,
        architecture=model.architecture,
        input_width=model.input_size.w,
        input_height=model.input_size.h,
        uae_dims=drift.uae_encoding_dims,
        run_id=version.run_id,
        created_at=datetime.now(UTC),
        dataset_name=dataset.name,
        dataset_tag=dataset.tag,
        dataset_revision=dataset.revision,
        metrics=release.judgement.evaluation.values(),
        drift_detector=drift.detector,
        drift_test=drift.test,
        drift_p_value=drift.p_value,
        reference_rows=reference_rows,
        sha256="",
        confidence_map=release.judgement.evaluation.confidence_map,
    )
