"""Every drift detector keeps its false-alarm promise, finds a real shift, and survives being saved."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from onsight.drift import MIN_WINDOW_ROWS, DetectorSpec, fit_detector, load_detector, save_detector
from onsight.errors import BundleError

Library = Literal["native", "alibi-detect"]
Test = Literal["ks", "mmd"]
KINDS: list[tuple[Library, Test]] = list(product(("native", "alibi-detect"), ("ks", "mmd")))
by_kind = pytest.mark.parametrize(("library", "test"), KINDS, ids=["-".join(kind) for kind in KINDS])


def correlated(random: np.random.Generator, n: int, shift: float = 0.0) -> NDArray[np.float64]:
    """Features that share a factor, as an encoder's do."""
    return random.normal(size=(n, 32)) + random.normal(size=(n, 1)) + shift


def spec(library: Library, test: Test, p_value: float = 0.01) -> DetectorSpec:
    return DetectorSpec("uae", library, test, p_value)


@by_kind
def test_detector_when_the_window_is_shifted_then_alarms(library: Library, test: Test) -> None:
    random = np.random.default_rng(1)
    detector = fit_detector(spec(library, test), correlated(random, 300))
    verdict = detector.test(correlated(random, 200, shift=0.8))
    assert verdict.is_drift is True
    assert verdict.p_value is not None
    assert verdict.p_value < verdict.threshold == 0.01
    assert (verdict.features, verdict.detector) == ("uae", f"{library}-{test}")
    assert (verdict.n_reference, verdict.n_window) == (300, 200)


@by_kind
def test_detector_when_the_window_is_quiet_then_is_silent(library: Library, test: Test) -> None:
    random = np.random.default_rng(2)
    detector = fit_detector(spec(library, test), correlated(random, 300))
    assert detector.test(correlated(random, 200)).is_drift is False


@by_kind
def test_detector_when_saved_and_loaded_then_gives_the_same_verdict(
    library: Library, test: Test, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    detector = fit_detector(spec(library, test), correlated(random, 120))
    window = correlated(random, 60, shift=0.3)
    save_detector(detector, tmp_path)
    verdict = detector.test(window)
    assert load_detector(tmp_path).test(window) == verdict
    assert detector.test(window) == verdict


@by_kind
def test_detector_when_there_are_too_few_rows_then_gives_no_verdict(library: Library, test: Test) -> None:
    random = np.random.default_rng(4)
    detector = fit_detector(spec(library, test), correlated(random, 100))
    verdict = detector.test(correlated(random, MIN_WINDOW_ROWS - 1, shift=9))
    assert verdict.is_drift is None
    assert verdict.p_value is None


@by_kind
def test_detector_when_the_window_has_another_width_or_nan_then_says_so(library: Library, test: Test) -> None:
    detector = fit_detector(spec(library, test), correlated(np.random.default_rng(5), 100))
    with pytest.raises(ValueError, match=r"like the reference, not \[50, 3\]"):
        detector.test(np.zeros((50, 3)))
    with pytest.raises(ValueError, match="not finite"):
        detector.test(np.full((50, 32), np.nan))


@pytest.mark.parametrize(("test", "windows", "p_value"), [("ks", 1500, 0.01), ("mmd", 300, 0.05)])
def test_native_detector_when_nothing_drifts_then_keeps_its_false_alarm_rate(
    test: Test, windows: int, p_value: float
) -> None:
    random = np.random.default_rng(6)
    alarms = 0
    for _ in range(windows):
        # A new reference each time: with a fixed one the alarms of different windows would depend on each other.
        detector = fit_detector(spec("native", test, p_value), correlated(random, 100))
        alarms += bool(detector.test(correlated(random, 60)).is_drift)
    assert alarms <= binom.ppf(0.995, windows, p_value)


def test_native_and_alibi_ks_agree() -> None:
    random = np.random.default_rng(7)
    reference, window = correlated(random, 400), correlated(random, 300, shift=0.15)
    ours = fit_detector(spec("native", "ks"), reference).test(window)
    theirs = fit_detector(spec("alibi-detect", "ks"), reference).test(window)
    assert ours.statistic == pytest.approx(theirs.statistic, abs=1e-6)
    assert ours.p_value == pytest.approx(theirs.p_value, rel=0.15)
    assert ours.is_drift == theirs.is_drift


def test_detector_when_the_window_is_huge_then_is_thinned() -> None:
    random = np.random.default_rng(8)
    detector = fit_detector(spec("native", "mmd"), correlated(random, 5_000))
    assert len(detector.reference) == 1_000
    verdict = detector.test(correlated(random, 50_000))
    assert verdict.n_window == 50_000
    assert verdict.is_drift is False


@pytest.mark.parametrize("damage", ["missing", "garbage", "unknown key", "pickle"])
def test_load_detector_when_damaged_then_raises_bundle_error(tmp_path: Path, damage: str) -> None:
    save_detector(fit_detector(spec("native", "ks"), correlated(np.random.default_rng(9), 50)), tmp_path)
    if damage == "missing":
        (tmp_path / "reference.npz").unlink()
    elif damage == "garbage":
        (tmp_path / "reference.npz").write_bytes(b"garbage")
    elif damage == "unknown key":
        (tmp_path / "detector.json").write_text(json.dumps({"features": "uae", "other": 1}))
    else:
        np.savez(tmp_path / "reference.npz", reference=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BundleError, match="drift detector"):
        load_detector(tmp_path)
