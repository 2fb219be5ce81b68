"""Scored splits with chosen answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onsight.domain import ScoredSplit

MakeSplit = Callable[..., ScoredSplit]


@pytest.fixture
def make_split() -> MakeSplit:
    """A seeded split: softmax or independent answers that lean towards the truth by `skill`."""

    def make(
        n: int = 300, n_classes: int = 5, skill: float = 1.5, seed: int = 3, *, multi_label: bool = False
    ) -> ScoredSplit:
        generator = np.random.default_rng(seed)
        if multi_label:
            labels = generator.random((n, n_classes)) < 0.3
            logits = generator.normal(size=(n, n_classes)) + skill * (2 * labels - 1)
            probabilities = 1 / (1 + np.exp(-logits))
        else:
            labels = np.eye(n_classes)[generator.integers(0, n_classes, n)]
            logits = np.exp(generator.normal(size=(n, n_classes)) + skill * labels)
            probabilities = logits / logits.sum(axis=1, keepdims=True)
        return ScoredSplit(
            name="test",
            paths=tuple(Path(f"/images/{i}.png") for i in range(n)),
            labels=labels.astype(np.float32),
            probabilities=probabilities.astype(np.float32),
            classes=tuple(f"class-{c}" for c in range(n_classes)),
            classifier_type="multi-label" if multi_label else "multi-class",
        )

    return make
