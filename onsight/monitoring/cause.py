"""One sentence for people: what drifted, and what in the images that points to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onsight.drift import FeatureEffect, Judgement
from onsight.monitoring.features import TEST_TITLES, feature_title, moved_features

__all__ = ["name_cause"]

# What a person can look at in a picture, or in a list of answers, before numbers that only a network understands.
_TELLING = ("properties", "class_mix", "confidence", "bbsd")
_COUNTED = {"class_mix"}
_MOST = 4


def name_cause(judgement: Judgement, classes: Sequence[str]) -> str:
    """What drifted, the most telling features first; or why there is nothing to tell.

    Args:
        judgement: Of the window.
        classes: Of the model, in output order.
    """
    verdict = judgement.combined
    if verdict.is_drift is None:
        return f"{verdict.outcome}: {verdict.n_window} predictions to test"
    drifted = [test for test in judgement.tests if test.is_drift]
    if not drifted:
        return "no drift"
    titles = ", ".join(TEST_TITLES[test.features] for test in drifted)
    names = {test.features for test in drifted}
    effects = [effect for effect in judgement.effects if effect.test in names]
    told = _told(effects, verdict.threshold, classes)
    return f"drift in {titles}: {'; '.join(told)}" if told else f"drift in {titles}"


def _told(effects: Sequence[FeatureEffect], threshold: float, classes: Sequence[str]) -> list[str]:
    moved = moved_features(effects, threshold)
    told = [
        _change(feature_title(effect.name, classes), effect)
        for test in _TELLING
        for effect in moved
        if effect.test == test
    ][:_MOST]
    n_images = sum(effect.test == "uae" for effect in moved)
    if n_images:
        told.append(f"{n_images} of {sum(effect.test == 'uae' for effect in effects)} image features moved")
    return told


def _change(title: str, effect: FeatureEffect) -> str:
    word = "rose" if effect.shift > 0 else "fell"
    if effect.test in _COUNTED or effect.name.startswith("format "):
        return f"the share of {title} {word} by {100 * effect.statistic:.0f} points"
    if effect.shift == 0:
        return f"{title} has another spread"
    return (
        f"{title} {word} by {abs(effect.shift):.1f} standard deviations"
        if math.isfinite(effect.shift)
        else f"{title} {word}"
    )
