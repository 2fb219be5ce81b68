"""Gathers everything that is wrong with some input, so that one message names it all."""

from __future__ import annotations

from onsight.errors import DatasetError

__all__ = ["Problems"]

_SHOWN = 5


class Problems:
    """Problems by kind; of each kind the first few are shown, and all are counted."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, where: str) -> None:
        """Note one problem.

        Args:
            kind: What is wrong, in the plural ("files that are no images").
            where: The file, line or class it is about.
        """
        self._by_kind.setdefault(kind, []).append(where)

    def raise_if_any(self, summary: str, hint: str = "") -> None:
        """Raise all problems as one error.

        Raises:
            DatasetError: There is at least one problem; its context holds the full lists.
        """
        if not self._by_kind:
            return
        lines = [f"  {len(places)} {kind}: {_shorten(places)}" for kind, places in self._by_kind.items()]
        raise DatasetError("\n".join([f"{summary}:", *lines]), hint, problems=self._by_kind)


def _shorten(places: list[str]) -> str:
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
