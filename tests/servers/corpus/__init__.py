"""Several hundred image files, each with the answers that are right for it."""

from __future__ import annotations

from tests.servers.corpus.hostile import hostile_files
from tests.servers.corpus.parts import CorpusFile
from tests.servers.corpus.sound import sound_files

__all__ = ["CorpusFile", "corpus"]


def corpus() -> list[CorpusFile]:
    """Every file; the same ones each time."""
    return [*sound_files(), *hostile_files()]
