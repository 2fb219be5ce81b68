"""How often the combined verdict alarms on windows in which nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from benchmarks.drift_parts.pictures import N_FRAMES, PictureSet
from onsight.drift import DriftPolicy, DriftSample, judge_sample

__all__ = ["QuietCell", "false_alarms"]

N_REFERENCE = 500
SIZES = (50, 200, 1_000)
# Of a window with bursts so many rows are pictures of their own; the others come in bursts of four frames.
_SINGLE_SHARE = 0.4
_LEVEL = 0.995


@dataclass(frozen=True)
class QuietCell:
    """Alarms among simulated quiet windows of one kind; ``allowed`` is the binomial 99 % interval's upper end."""

    dims: int
    size: int
    kind: str
    windows: int
    alarms: int
    allowed: int
    tested_rows: float


def false_alarms(pictures: PictureSet, windows: dict[int, int], seed: int = 1) -> Iterator[QuietCell]:
    """One cell for each width, window size and kind.

    Args:
        pictures: The features.
        windows: How many windows for each width of the drift encoder.
        seed: Of the draws.
    """
    rate = DriftPolicy().false_alarm_rate
    thinning = {"independent": 60.0, "bursts": 60.0}
    for dims, count in windows.items():
        kinds = thinning | ({"bursts, not thinned": 0.0} if dims == min(windows) else {})
        for size in SIZES:
            for kind, burst_s in kinds.items():
                alarms, rows = 0, 0
                for index in range(count):
                    random = np.random.default_rng([seed, dims, size, index])
                    draw = _independent if kind == "independent" else _bursts
                    reference, window = draw(pictures, dims, size, random)
                    judgement = judge_sample(reference, window, DriftPolicy(burst_s=burst_s, seed=index))
                    if judgement.combined.is_drift is None:
                        raise RuntimeError("a window was too small for a verdict")
                    alarms += judgement.combined.is_drift
                    rows += len(judgement.kept)
                yield QuietCell(dims, size, kind, count, alarms, int(binom.ppf(_LEVEL, count, rate)), rows / count)


def _independent(
    pictures: PictureSet, dims: int, size: int, random: np.random.Generator
) -> tuple[DriftSample, DriftSample]:
    """Reference and window are disjoint draws from the held-out pictures; from all where those are too few."""
    enough = len(pictures.held_out) >= N_REFERENCE + size
    pool = pictures.held_out if enough else np.arange(len(pictures.labels))
    drawn = random.permutation(pool)[: N_REFERENCE + size]
    sample = pictures.clean.sample
    window = sample(drawn[N_REFERENCE:], dims)
    return sample(drawn[:N_REFERENCE], dims), _stamped(window, np.arange(size) * 10.0)


def _bursts(pictures: PictureSet, dims: int, size: int, random: np.random.Generator) -> tuple[DriftSample, DriftSample]:
    """Every row is a frame of a held-out picture's scene; of some scenes all four frames are in the window."""
    n_bursts = round(size * (1 - _SINGLE_SHARE) / N_FRAMES)
    n_single = size - n_bursts * N_FRAMES
    order = random.permutation(len(pictures.held_out))
    scenes, singles, others = np.split(order, [n_bursts, n_bursts + n_single])
    turns = random.permutation(N_FRAMES)
    frames = [pictures.frames[turn] for turn in turns]
    parts = [frames[0].sample(np.concatenate([singles, scenes]), dims)]
    parts += [frame.sample(scenes, dims) for frame in frames[1:]]
    began = np.arange(n_single + n_bursts) * 10.0
    times = [began] + [began[n_single:] + 0.2 * turn for turn in range(1, N_FRAMES)]
    reference = frames[0].sample(others[:N_REFERENCE], dims)
    return reference, _stamped(_joined(parts), np.concatenate(times))


def _stamped(window: DriftSample, created_at_s: np.ndarray) -> DriftSample:
    """From one camera, so that bursts are looked for."""
    return replace(window, clients=("camera",) * len(window), created_at_s=created_at_s)


def _joined(parts: list[DriftSample]) -> DriftSample:
    return replace(
        parts[0],
        uae_feats=np.concatenate([part.uae_feats for part in parts]),
        bbsd_feats=np.concatenate([part.bbsd_feats for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        properties={name: np.concatenate([part.properties[name] for part in parts]) for name in parts[0].properties},
    )
