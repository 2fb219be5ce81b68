"""The judgement beside alibi-detect's KSDrift, as its documentation shows it, on the same windows."""

from __future__ import annotations

import numpy as np
import pytest

from onsight.drift import DriftPolicy, DriftSample, judge_sample

RATE = 0.01
WINDOWS = 40


def sample(random: np.random.Generator, n: int, shift: float) -> DriftSample:
    """Features that share a factor, as an encoder's do; the network's answers do not change."""
    features = random.normal(size=(n, 32)) + random.normal(size=(n, 1)) + shift * np.linspace(-1, 1, 32)
    probabilities = random.dirichlet([1, 1], n)
    return DriftSample(features.astype(np.float32), probabilities, probabilities, {}, (), (), np.empty(0))


@pytest.mark.parametrize("shift", [0.0, 0.35], ids=["quiet", "drift"])
def test_judge_sample_finds_at_least_what_alibi_detect_finds(shift: float) -> None:
    from alibi_detect.cd import KSDrift

    ours = theirs = 0
    for index in range(WINDOWS):
        random = np.random.default_rng(index)
        reference, window = sample(random, 150, 0.0), sample(random, 60, shift)
        ours += bool(judge_sample(reference, window, DriftPolicy(false_alarm_rate=RATE)).combined.is_drift)
        theirs += KSDrift(reference.uae_feats, p_val=RATE).predict(window.uae_feats)["data"]["is_drift"]
    if shift:
        assert ours >= max(theirs, WINDOWS // 2), (ours, theirs)
    else:
        assert ours <= 3  # with a rate of 1 %, more has a probability below 0.001
