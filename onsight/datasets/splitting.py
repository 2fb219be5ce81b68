"""Assigns images to splits: seeded, stratified, with copies of one image kept together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onsight.datasets.layout import SPLITS

__all__ = ["SplitItem", "allocate", "assign_splits"]


@dataclass(frozen=True)
class SplitItem:
    """What the assignment knows of one image.

    Attributes:
        strata: What must be spread evenly, such as its classes; an image counts for each.
        group: Images of one group go into one split (a hash of the content keeps copies together).
        split: Fixed beforehand, or None.
    """

    strata: tuple[str, ...]
    group: str
    split: str | None = None


def allocate(count: int, fractions: Sequence[float]) -> NDArray[np.int64]:
    """Divide ``count`` images: at least one for each split if there are enough, the rest by largest remainder.

    Args:
        count: Number of images.
        fractions: Of the splits; positive, their sum is 1.

    Returns:
        int64 [len(fractions)], its sum is ``count``.
    """
    exact = np.asarray(fractions, np.float64) * count
    shares: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(-(exact - shares), kind="stable")
    shares[by_remainder[: count - shares.sum()]] += 1
    while count >= len(fractions) and shares.min() == 0:
        shares[shares.argmax()] -= 1
        shares[shares.argmin()] += 1
    return shares


def assign_splits(items: Sequence[SplitItem], fractions: Sequence[float], seed: int) -> list[str]:
    """Choose a split for each image.

    The rarest stratum is served first, and each image goes where its stratum lacks most (iterative stratification,
    Sechidis et al., *On the stratification of multi-label data*, 2011). With one stratum per image this gives exactly
    the shares of ``allocate``.

    Args:
        items: In a fixed order; the same items, fractions and seed give the same answer.
        fractions: Of train, valid and test; positive, their sum is 1.
        seed: Of the order in which images are taken.

    Returns:
        The split's name for each item.
    """
    return _Assignment(items, fractions).run(seed)


class _Assignment:
    """The state of one assignment: what each stratum still lacks in each split."""

    def __init__(self, items: Sequence[SplitItem], fractions: Sequence[float]) -> None:
        self._items = items
        self._groups: dict[str, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            self._groups[item.group].append(index)
        counts = Counter(stratum for item in items for stratum in _strata(item))
        self._lack = {stratum: allocate(count, fractions) for stratum, count in counts.items()}
        self._lack_in_all = allocate(len(items), fractions)
        self._chosen: list[str | None] = [None] * len(items)

    def run(self, seed: int) -> list[str]:
        for index, item in enumerate(self._items):
            if item.split is not None:
                self._place(index, SPLITS.index(item.split))
        waiting = self._follow_the_fixed()
        order = [waiting[i] for i in np.random.default_rng(seed).permutation(len(waiting))]
        while order:
            stratum = self._rarest(order)
            rest = []
            for group in order:
                members = self._groups[group]
                if any(stratum in _strata(self._items[index]) for index in members):
                    self._place_group(members, self._neediest(stratum))
                else:
                    rest.append(group)
            order = rest
        return [split or SPLITS[0] for split in self._chosen]

    def _follow_the_fixed(self) -> list[str]:
        """Place the free members of groups that have a fixed one; the other groups wait."""
        waiting = []
        for group, members in self._groups.items():
            fixed = next((self._chosen[index] for index in members if self._chosen[index]), None)
            if fixed is None:
                waiting.append(group)
            else:
                self._place_group(members, SPLITS.index(fixed))
        return waiting

    def _rarest(self, groups: Sequence[str]) -> str:
        counts = Counter(s for group in groups for index in self._groups[group] for s in _strata(self._items[index]))
        return min(counts, key=lambda stratum: (counts[stratum], stratum))

    def _neediest(self, stratum: str) -> int:
        lack = self._lack[stratum]
        return max(range(len(SPLITS)), key=lambda split: (lack[split], self._lack_in_all[split], -split))

    def _place_group(self, members: Sequence[int], split: int) -> None:
        for index in members:
            if self._chosen[index] is None:
                self._place(index, split)

    def _place(self, index: int, split: int) -> None:
        self._chosen[index] = SPLITS[split]
        self._lack_in_all[split] -= 1
        for stratum in _strata(self._items[index]):
            self._lack[stratum][split] -= 1


def _strata(item: SplitItem) -> tuple[str, ...]:
    return item.strata or ("",)
