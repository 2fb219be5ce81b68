"""The stage that makes the int8 variant of the serving graph, and leaves it out where it is not good enough."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onsight.bundle import GoldenImages, OnnxClassifier, VariantParts
from onsight.config import DriftDetection, ModelConfig
from onsight.domain import DatasetVersion, FloatArray, ScoredSplit
from onsight.drift import DetectorSpec, fit_detector
from onsight.errors import ConversionError
from onsight.evaluation import accuracy
from onsight.serving import load_images, predict_paths
from onsight.tracking import TrackedRun
from tasks.stage import stage
from tasks.training import ExportedNetwork

__all__ = ["Int8Outcome", "quantize_network"]


@dataclass(frozen=True)
class Int8Outcome:
    """What became of the int8 variant.

    Attributes:
        parts: None when it is left out.
        message: Why, or how good it is.
    """

    parts: VariantParts | None
    message: str


@stage("int8 variant")
def quantize_network(
    exported: ExportedNetwork, scored: ScoredSplit, dataset: DatasetVersion, model: ModelConfig, run: TrackedRun
) -> Int8Outcome:
    """Quantise the serving graph on images of the training set, and compare its accuracy with the network's.

    Args:
        exported: Of the network.
        scored: What the network says of held-out images.
        dataset: Where the calibration images are drawn from.
        model: ``int8``, ``input_size`` and ``drift_detection`` are used.
        run: Gets both accuracies.
    """
    from onsight.training import quantize_graph

    path = exported.graph.with_name("model.int8.onnx")
    train, size = dataset.splits["train"], model.input_size
    n_images = min(model.int8.calibration_images, len(train))
    rows = np.random.default_rng(0).choice(len(train), n_images, replace=False)
    images = load_images([train.paths[row] for row in rows], size.w, size.h)
    try:
        quantize_graph(exported.graph, images, path)
    except ConversionError as error:
        # A network without it is worth as much as before.
        return Int8Outcome(None, f"left out: {error.message}")
    return _judged(VariantParts(path, exported.golden), scored, model, run)


def _judged(parts: VariantParts, scored: ScoredSplit, model: ModelConfig, run: TrackedRun) -> Int8Outcome:
    """With its own golden answers; without parts if it loses too much, or would be taken for drift."""
    classifier = OnnxClassifier.load(parts.graph)
    answers = predict_paths(classifier, scored.paths).probabilities
    before, after = accuracy(scored), accuracy(replace(scored, probabilities=answers))
    run.log_metrics({f"{scored.name}_fp32_accuracy": before, f"{scored.name}_int8_accuracy": after})
    found = f"accuracy {after:.4f} against {before:.4f} in fp32 on {len(scored.paths)} images of {scored.name}"
    if before - after > model.int8.max_accuracy_loss:
        return Int8Outcome(None, f"left out: {found}, a loss of {model.int8.max_accuracy_loss:g} is allowed")
    if _is_drift(scored.probabilities, answers, model.drift_detection):
        return Int8Outcome(None, f"left out: {found}, but the drift monitor would take its answers for drift")
    images = parts.golden.images
    golden = GoldenImages(images, classifier.run(images).probabilities)
    return Int8Outcome(replace(parts, golden=golden), f"published: {found}")


def _is_drift(before: FloatArray, after: FloatArray, config: DriftDetection) -> bool:
    """Whether the BBSD detector, whose reference the fp32 graph gives, finds the int8 answers to be others."""
    spec = DetectorSpec("bbsd", config.detector, config.test, config.p_value)
    return fit_detector(spec, before).test(after).is_drift is True
