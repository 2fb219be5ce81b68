"""What tests of training share: a small data set of real photographs, and a tracked run that remembers in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from onsight.config import ModelConfig
from onsight.domain import DatasetVersion, Split
from onsight.tracking.tracker import RunStatus

SIDE = 32
CLASSES = ("rare", "common")


@dataclass
class MemoryRun:
    """A tracked run that keeps what it is told: for tests of those who log, not of how it is sent."""

    metrics: list[tuple[int | None, dict[str, float]]] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    run_id: str = "0" * 32
    link: str = "memory"
    unsent: int = 0

    def log_params(self, params: Mapping[str, object]) -> None:
        self.params.update(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.metrics.append((step, dict(metrics)))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        self.artifacts[f"{folder}/{path.name}"] = path.read_bytes()

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.tags.update(tags)

    def log_dataset(self, dataset: DatasetVersion) -> None:
        self.params["dataset"] = dataset.name

    def log_model(self, keras_path: Path, input_size: tuple[int, int], classes: Sequence[str]) -> str:
        self.artifacts["model"] = keras_path.read_bytes()
        return f"memory:/{input_size}/{len(classes)}"

    def flush(self, timeout_s: float = 60.0) -> bool:
        return True

    def close(self, status: RunStatus = "FINISHED") -> None:
        self.tags["status"] = status


def model_config(**changes: object) -> ModelConfig:
    """A small network for ``SIDE`` pixels and two classes."""
    values: dict[str, object] = {
        "model_name": "plankton",
        "input_size": {"w": SIDE, "h": SIDE},
        "classes": CLASSES,
        "architecture": "small_cnn",
    }
    return ModelConfig.model_validate(values | changes)


def small_set(images: Sequence[Path]) -> DatasetVersion:
    """48 photographs for training, 24 for validation: of the largest class, and of all others together."""
    folders = sorted({path.parent.name for path in images})
    counts = {name: sum(path.parent.name == name for path in images) for name in folders}
    largest = max(counts, key=lambda name: counts[name])
    labels = np.array([[path.parent.name != largest, path.parent.name == largest] for path in images], np.float32)
    order = np.random.default_rng(3).permutation(len(images))
    splits = {
        name: Split(name, tuple(images[row] for row in rows), labels[rows])
        for name, rows in {"train": order[:48], "valid": order[48:72]}.items()
    }
    return DatasetVersion("plankton", "v1.0.0", "f" * 40, images[0].parents[1], CLASSES, splits)


@pytest.fixture(scope="session")
def plankton_set(plankton_images: list[Path]) -> DatasetVersion:
    """Real photographs in two classes, one of them rarer."""
    return small_set(plankton_images)
