"""What a judgement costs beside the bare computations, and the memory that a huge window needs."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np
from scipy.stats import ks_2samp

from onsight.drift import DriftPolicy, DriftSample, judge_sample

__all__ = ["cost", "huge_window"]

_DIMS, _CLASSES = 32, 10
_PERMUTATIONS = 100  # MMDDrift's default


def simulated(random: np.random.Generator, rows: int, shift: float = 0.0) -> DriftSample:
    """Features that share factors, ten classes, all image properties, five clients."""
    probabilities = random.dirichlet(np.full(_CLASSES, 0.3), rows)
    return DriftSample(
        uae_feats=random.normal(size=(rows, _DIMS)) + random.normal(size=(rows, 1)) + shift,
        bbsd_feats=probabilities,
        probabilities=probabilities,
        properties={name: random.normal(size=rows) for name in ("brightness", "contrast", "sharpness", "aspect")},
        formats=tuple(np.where(random.random(rows) < 0.5, "JPEG", "PNG").tolist()),
        clients=tuple(np.char.add("client ", random.integers(0, 5, rows).astype(str)).tolist()),
        created_at_s=np.sort(random.random(rows)) * rows,
    )


def cost(rounds: int, n_reference: int = 5_000, n_window: int = 1_000) -> dict[str, float]:
    """Median CPU seconds: the bare computations, a quiet judgement, and one that needs all relabellings."""
    random = np.random.default_rng(4)
    reference, quiet = simulated(random, n_reference), simulated(random, n_window)
    drifted = simulated(random, n_window, shift=0.5)
    steps: dict[str, Callable[[], object]] = {
        "bare SciPy KS": lambda: ks_2samp(reference.uae_feats, quiet.uae_feats, axis=0, method="asymp"),
        "bare MMD products": lambda: _mmd_products(reference.uae_feats, quiet.uae_feats),
        "judgement, quiet": lambda: judge_sample(reference, quiet, DriftPolicy()),
        "judgement, drift": lambda: judge_sample(reference, drifted, DriftPolicy()),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            started = time.process_time()
            step()
            seconds[name].append(time.process_time() - started)
    return {name: median(values) for name, values in seconds.items()}


def huge_window(rows: int) -> dict[str, float]:
    """The most memory that a judgement holds beside its input, and its time (traced, so it is the slower for it)."""
    random = np.random.default_rng(5)
    reference, window = simulated(random, 5_000), simulated(random, rows)
    tracemalloc.start()
    started = time.process_time()
    judgement = judge_sample(reference, window, DriftPolicy())
    spent_s, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"rows": rows, "tested_rows": judgement.combined.n_window, "added_mib": peak / 2**20, "cpu_s": spent_s}


def _mmd_products(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The kernel matrix, and its product with as many relabellings as MMDDrift draws; float64, as SciPy's."""
    rows = np.concatenate([reference, window])
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2.0 * rows @ rows.T
    kernel = np.exp(-distances / _DIMS)
    labels = np.random.default_rng(6).random((len(rows), _PERMUTATIONS + 1)) < len(window) / len(rows)
    return np.asarray(kernel @ labels.astype(np.float64))
