"""Bursts: near-duplicates of one client in quick succession count once, everything else is kept."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from onsight.drift import DriftSample
from onsight.drift.bursts import near_duplicate_distance, thin_bursts

RANDOM = np.random.default_rng(1)
REFERENCE = RANDOM.normal(size=(300, 32))
# Further apart than the reference, so that no two scenes are near-duplicates by chance.
SCENES = 3 * RANDOM.normal(size=(40, 32))


def window(features: NDArray[np.float64], clients: tuple[str, ...], seconds: NDArray[np.float64]) -> DriftSample:
    empty = np.empty((len(features), 0))
    return DriftSample(features, empty, empty, {}, (), clients, seconds)


def frames(scenes: NDArray[np.float64], each: int, jitter: float = 0.02) -> NDArray[np.float64]:
    return np.repeat(scenes, each, axis=0) + np.random.default_rng(2).normal(
        scale=jitter, size=(len(scenes) * each, 32)
    )


def test_thin_bursts_when_scenes_have_frames_then_keeps_the_first_of_each() -> None:
    sample = window(frames(SCENES, 5), ("camera",) * 200, np.arange(200.0))
    np.testing.assert_array_equal(thin_bursts(sample, REFERENCE, 60, 1), np.arange(0, 200, 5))


def test_thin_bursts_when_rows_come_newest_first_then_keeps_the_earliest() -> None:
    sample = window(frames(SCENES, 5), ("camera",) * 200, np.arange(200.0)[::-1])
    np.testing.assert_array_equal(thin_bursts(sample, REFERENCE, 60, 1), np.arange(4, 200, 5))


def test_thin_bursts_when_cameras_of_a_client_take_turns_then_still_finds_them() -> None:
    turns = np.arange(40).reshape(8, 5).T.ravel()
    sample = window(frames(SCENES[:8], 5)[turns], ("gate",) * 40, np.arange(40.0))
    np.testing.assert_array_equal(thin_bursts(sample, REFERENCE, 60, 1), np.arange(8))


def test_thin_bursts_when_other_pictures_come_between_then_the_bursts_that_go_on_stay_open() -> None:
    # Two cameras' frames, and after each pair three pictures that are like nothing else.
    cameras = frames(SCENES[:2], 5).reshape(2, 5, 32)
    rows = [row for turn in range(5) for row in (*cameras[:, turn], *SCENES[10 + 3 * turn : 13 + 3 * turn])]
    sample = window(np.array(rows), ("gate",) * 25, np.arange(25.0))
    assert len(thin_bursts(sample, REFERENCE, 60, 1)) == 2 + 15


@pytest.mark.parametrize(
    ("clients", "gap_s", "jitter", "kept"),
    [
        (("a", "b") * 5, 1.0, 0.02, 2),
        (tuple(f"client {index}" for index in range(10)), 1.0, 0.02, 10),
        (("a",) * 10, 61.0, 0.02, 10),
        (("a",) * 10, 1.0, 1.0, 10),
    ],
    ids=["two clients", "ten clients", "an hour's patience", "different pictures"],
)
def test_thin_bursts_needs_client_time_and_likeness(
    clients: tuple[str, ...], gap_s: float, jitter: float, kept: int
) -> None:
    sample = window(frames(SCENES[:1], 10, jitter), clients, np.arange(10) * gap_s)
    assert len(thin_bursts(sample, REFERENCE, 60, 1)) == kept


def test_thin_bursts_when_a_camera_is_stuck_then_it_stays_visible() -> None:
    sample = window(np.repeat(SCENES[:1], 1_000, axis=0), ("stuck",) * 1_000, np.arange(1_000) * 6.0)
    assert len(thin_bursts(sample, REFERENCE, 60, 1)) == pytest.approx(1_000 / 11, abs=2)


def test_thin_bursts_when_all_pictures_differ_then_hardly_any_goes() -> None:
    features = np.random.default_rng(3).normal(size=(2_000, 32))
    sample = window(features, ("camera",) * 2_000, np.arange(2_000) * 0.1)
    assert len(thin_bursts(sample, REFERENCE, 60, 1)) > 1_800


def test_thin_bursts_when_clients_are_unknown_then_keeps_all() -> None:
    assert len(thin_bursts(window(frames(SCENES[:1], 10), (), np.empty(0)), REFERENCE, 60, 1)) == 10


def test_near_duplicate_distance_when_the_reference_is_one_row_then_is_zero() -> None:
    assert near_duplicate_distance(REFERENCE[:1], 1) == 0.0


def test_thin_bursts_when_scenes_are_unusual_then_their_frames_may_differ_more() -> None:
    unusual = 20 * SCENES[:10]
    jitter = np.random.default_rng(4).normal(scale=0.02, size=(50, 32))
    sample = window(np.repeat(unusual, 5, axis=0) * (1 + jitter), ("camera",) * 50, np.arange(50.0))
    np.testing.assert_array_equal(thin_bursts(sample, REFERENCE, 60, 1), np.arange(0, 50, 5))


def test_thin_bursts_when_the_whole_window_has_moved_then_hardly_any_goes() -> None:
    moved = np.random.default_rng(5).normal(size=(150, 32)) + 5.0
    sample = window(moved, ("camera",) * 150, np.arange(150) * 0.05)
    assert len(thin_bursts(sample, REFERENCE, 60, 1)) > 135
