"""What a drift test's features are called before people, and which of them say the most."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onsight.drift import FeatureEffect

__all__ = ["TEST_TITLES", "feature_title", "moved_features"]

TEST_TITLES = {
    "uae": "image features",
    "bbsd": "class probabilities",
    "class_mix": "predicted classes",
    "confidence": "confidence",
    "properties": "image properties",
}


def feature_title(name: str, classes: Sequence[str]) -> str:
    """The name of a feature such as ``class_1`` before people; other names stay as they are."""
    kind, _, index = name.rpartition("_")
    if kind not in ("uae", "bbsd", "class") or not index.isdigit():
        return name
    if kind == "uae" or int(index) >= len(classes):
        return f"image feature {index}"
    title = classes[int(index)]
    return f"probability of {title}" if kind == "bbsd" else f"class {title}"


def moved_features(effects: Sequence[FeatureEffect], threshold: float) -> list[FeatureEffect]:
    """The features that differ by more than chance, those that differ most first."""
    moved = [effect for effect in effects if effect.p_value <= threshold]
    return sorted(moved, key=lambda effect: (-effect.statistic, -_size(effect.shift), effect.name))


def _size(shift: float) -> float:
    return abs(shift) if math.isfinite(shift) else math.inf
