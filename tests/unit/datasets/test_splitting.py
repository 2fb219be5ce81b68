"""Seeded, stratified splits: exact shares, copies together, fixed images stay."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from onsight.datasets.splitting import SplitItem, allocate, assign_splits

FRACTIONS = (0.7, 0.15, 0.15)


def single(classes: list[str]) -> list[SplitItem]:
    return [SplitItem((name,), str(index)) for index, name in enumerate(classes)]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3, [1, 1, 1]),
        (4, [2, 1, 1]),
        (10, [7, 2, 1]),
        (20, [14, 3, 3]),
        (1000, [700, 150, 150]),
        (2, [2, 0, 0]),
        (0, [0] * 3),
    ],
)
def test_allocate_gives_every_split_one_image_where_it_can(count: int, expected: list[int]) -> None:
    assert allocate(count, FRACTIONS).tolist() == expected


@given(count=st.integers(3, 5000), first=st.floats(0.05, 0.9), second=st.floats(0.05, 0.9))
def test_allocate_is_within_one_image_of_the_fractions(count: int, first: float, second: float) -> None:
    fractions = np.array([first, second, 0.3]) / (first + second + 0.3)
    shares = allocate(count, list(fractions))
    assert shares.sum() == count
    assert shares.min() >= 1
    if (fractions * count).min() >= 1:
        assert np.abs(shares - fractions * count).max() < 1


def test_splits_of_single_labels_have_exactly_the_allocated_sizes() -> None:
    classes = ["rare"] * 3 + ["small"] * 11 + ["large"] * 400
    splits = assign_splits(single(classes), FRACTIONS, seed=3)
    for name in set(classes):
        own = Counter(split for split, own in zip(splits, classes, strict=True) if own == name)
        assert [own[split] for split in ("train", "valid", "test")] == allocate(classes.count(name), FRACTIONS).tolist()


def test_splits_agree_in_size_with_scikit_learn() -> None:
    classes = np.repeat(["a", "b", "c"], [200, 120, 80])
    ours = np.array(assign_splits(single(list(classes)), (0.5, 0.25, 0.25), seed=0))
    _, theirs = train_test_split(classes, test_size=0.25, stratify=classes, random_state=0)
    assert Counter(classes[ours == "test"]) == Counter(theirs)


def test_splits_depend_on_the_seed_and_on_nothing_else() -> None:
    items = single(["a", "b"] * 50)
    assert assign_splits(items, FRACTIONS, 1) == assign_splits(items, FRACTIONS, 1)
    assert assign_splits(items, FRACTIONS, 1) != assign_splits(items, FRACTIONS, 2)


@given(groups=st.lists(st.integers(0, 8), min_size=1, max_size=60))
def test_copies_of_an_image_share_a_split(groups: list[int]) -> None:
    items = [SplitItem(("ab"[group % 2],), str(group)) for group in groups]
    splits = assign_splits(items, FRACTIONS, 0)
    by_group: dict[int, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        by_group.setdefault(group, set()).add(split)
    assert all(len(found) == 1 for found in by_group.values())


def test_fixed_images_stay_and_their_copies_follow() -> None:
    items = [SplitItem(("a",), str(index // 2), "test" if index == 4 else None) for index in range(40)]
    splits = assign_splits(items, FRACTIONS, 0)
    assert splits[4] == splits[5] == "test"
    assert Counter(splits)["test"] in (5, 6, 7)


def test_splits_of_several_labels_are_close_to_the_fractions_for_every_class() -> None:
    labels = np.random.default_rng(0).random((900, 5)) < [0.6, 0.3, 0.2, 0.1, 0.03]
    items = [SplitItem(tuple(np.flatnonzero(row).astype(str)), str(index)) for index, row in enumerate(labels)]
    splits = np.array(assign_splits(items, FRACTIONS, 0))
    for split, fraction in zip(("train", "valid", "test"), FRACTIONS, strict=True):
        found = labels[splits == split].sum(axis=0)
        np.testing.assert_allclose(found, labels.sum(axis=0) * fraction, atol=3)
