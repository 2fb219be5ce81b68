"""How often each detector sees a change, by its kind, its strength and the window's size.

The protocol follows Rabanser, Günnemann and Lipton, *Failing Loudly*, NeurIPS 2019: the window's pictures are
changed, its size grows from 10, and the share of draws with an alarm is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_parts.corruptions import CORRUPTIONS
from benchmarks.drift_parts.features import Features
from benchmarks.drift_parts.pictures import PictureSet
from benchmarks.drift_parts.rivals import any_alarms, check, ks_alarms, mmd_alarms
from onsight.drift import DRIFT_TESTS, DriftPolicy, DriftSample, judge_sample

__all__ = ["DETECTORS", "RIVALS", "PowerCell", "check_rivals", "power", "rivals_together"]

N_REFERENCE, DIMS = 500, 32
SIZES = (10, 50, 100, 500, 1_000)
UNSEEN_SHARES = (0.02, 0.05, 0.1)
RIVALS = ("alibi KS uae", "alibi KS bbsd", "alibi MMD uae", "alibi MMD bbsd")
DETECTORS = ("combined", *DRIFT_TESTS, *RIVALS)
Rows = NDArray[np.intp]
Draw = Callable[[int, np.random.Generator], tuple[Rows, DriftSample]]


@dataclass(frozen=True)
class PowerCell:
    """Shares of draws with an alarm."""

    change: str
    strength: str
    size: int
    draws: int
    detected: dict[str, float]


def power(pictures: PictureSet, draws: int, quiet_draws: int, seed: int = 2) -> Iterator[PowerCell]:
    """One cell for each change, strength and size; the first change is none at all.

    A size is left out, and taken for seen, once every detector saw the change in all draws of a smaller one.
    """
    for (change, strength), draw in _changes(pictures).items():
        count = quiet_draws if change == "none" else draws
        for size in SIZES:
            alarms = dict.fromkeys(DETECTORS, 0)
            for index in range(count):
                for name, alarm in _alarms(pictures, draw, size, np.random.default_rng([seed, size, index])).items():
                    alarms[name] += alarm
            yield PowerCell(change, strength, size, count, {name: alarms[name] / count for name in DETECTORS})
            if min(alarms.values()) == count:
                break


def rivals_together(
    pictures: PictureSet, cells: Sequence[PowerCell], seed: int = 2
) -> Iterator[tuple[PowerCell, float]]:
    """All four rivals with the false alarms of one, in the cells where one of them was ahead, and without a change.

    Args:
        pictures: As for ``power``.
        cells: What it found.
        seed: That it had.

    Yields:
        Such a cell, and the share of its draws with an alarm.
    """
    changes = _changes(pictures)
    for cell in cells:
        is_ahead = max(cell.detected[name] for name in RIVALS) > cell.detected["combined"]
        if cell.change != "none" and not is_ahead:
            continue
        alarms = 0
        for index in range(cell.draws):
            random = np.random.default_rng([seed, cell.size, index])
            samples = _samples(pictures, changes[cell.change, cell.strength], cell.size, random)
            alarms += any_alarms(list(_pairs(*samples).values()), random)
        yield cell, alarms / cell.draws


def check_rivals(pictures: PictureSet, seed: int = 3) -> int:
    """alibi-detect's own detectors on one window of each change and size up to 100; how many windows that were."""
    checked = 0
    for draw in _changes(pictures).values():
        for size in (50, 100):
            samples = _samples(pictures, draw, size, np.random.default_rng([seed, size]))
            for pair in _pairs(*samples).values():
                check(*pair)
                checked += 1
    return checked


def _alarms(pictures: PictureSet, draw: Draw, size: int, random: np.random.Generator) -> dict[str, bool]:
    reference, window = _samples(pictures, draw, size, random)
    judgement = judge_sample(reference, window, DriftPolicy(min_rows=10, seed=int(random.integers(2**31))))
    found = {verdict.features: bool(verdict.is_drift) for verdict in (*judgement.tests, judgement.combined)}
    for name, pair in _pairs(reference, window).items():
        found[f"alibi KS {name}"] = ks_alarms(*pair)
        found[f"alibi MMD {name}"] = mmd_alarms(*pair, random)
    return found


def _samples(
    pictures: PictureSet, draw: Draw, size: int, random: np.random.Generator
) -> tuple[DriftSample, DriftSample]:
    """A reference and a window, drawn together."""
    rows, window = draw(size, random)
    return pictures.clean.sample(rows, DIMS), window


def _pairs(reference: DriftSample, window: DriftSample) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """What the rivals compare: each kind of features, of reference and window."""
    return {
        "uae": (reference.uae_feats, window.uae_feats),
        "bbsd": (reference.bbsd_feats, window.bbsd_feats),
    }


def _changes(pictures: PictureSet) -> dict[tuple[str, str], Draw]:
    changes: dict[tuple[str, str], Draw] = {("none", ""): _replaced(pictures, pictures.clean, None)}
    for name, (unit, strengths, _) in CORRUPTIONS.items():
        for index, strength in enumerate(strengths):
            draw = _replaced(pictures, pictures.corrupted[name, index], pictures.altered)
            changes[name, f"{unit} {strength:g}"] = draw
    changes["class mix", "defective removed"] = _mixed(pictures, 0.0)
    changes["class mix", "defective doubled"] = _mixed(pictures, 2 * float(pictures.labels.mean()))
    for share in UNSEEN_SHARES:
        changes["unseen class", f"{share:.0%} of the window"] = _with_unseen(pictures, share)
    return changes


def _rest(pictures: PictureSet, used: Rows, random: np.random.Generator) -> Rows:
    """Pictures for the reference: not those of the window."""
    return random.permutation(np.setdiff1d(np.arange(len(pictures.labels)), used))[:N_REFERENCE]


def _replaced(pictures: PictureSet, features: Features, known: Rows | None) -> Draw:
    rows_of = np.arange(len(pictures.labels)) if known is None else known

    def draw(size: int, random: np.random.Generator) -> tuple[Rows, DriftSample]:
        drawn = random.permutation(len(rows_of))[:size]
        return _rest(pictures, rows_of[drawn], random), features.sample(drawn, DIMS)

    return draw


def _mixed(pictures: PictureSet, defective: float) -> Draw:
    def draw(size: int, random: np.random.Generator) -> tuple[Rows, DriftSample]:
        reference = _rest(pictures, np.empty(0, np.intp), random)
        left = random.permutation(np.setdiff1d(np.arange(len(pictures.labels)), reference))
        n_defective = round(defective * size)
        is_defective = pictures.labels[left] == 1
        rows = np.concatenate([left[is_defective][:n_defective], left[~is_defective][: size - n_defective]])
        return reference, pictures.clean.sample(rows, DIMS)

    return draw


def _with_unseen(pictures: PictureSet, share: float) -> Draw:
    def draw(size: int, random: np.random.Generator) -> tuple[Rows, DriftSample]:
        n_unseen = min(int(random.binomial(size, share)), len(pictures.unseen.probabilities))
        rows = random.permutation(len(pictures.labels))
        known = pictures.clean.sample(rows[: size - n_unseen], DIMS)
        unseen = pictures.unseen.sample(random.permutation(len(pictures.unseen.probabilities))[:n_unseen], DIMS)
        # Size and shape of the pictures would give them away.
        names = ("brightness", "contrast", "sharpness")
        window = replace(
            known,
            uae_feats=np.concatenate([known.uae_feats, unseen.uae_feats]),
            bbsd_feats=np.concatenate([known.bbsd_feats, unseen.bbsd_feats]),
            probabilities=np.concatenate([known.probabilities, unseen.probabilities]),
            properties={name: np.concatenate([known.properties[name], unseen.properties[name]]) for name in names},
        )
        return _rest(pictures, rows[: size - n_unseen], random), window

    return draw
