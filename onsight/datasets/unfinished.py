"""A version that a killed process began: the note that it left beside the data set, and how it is undone."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from onsight.datasets.git import Git
from onsight.datasets.layout import IMAGES_FOLDER
from onsight.datasets.repository import DatasetRepository
from onsight.datasets.versions import bring_back
from onsight.errors import DatasetError

__all__ = ["Begun", "recover", "recoverable"]

_IMAGES_RECORD = f"{IMAGES_FOLDER}.dvc"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begun:
    """What adding a version writes, all of it: anything else is somebody's work.

    Attributes:
        before: The commit that it starts from.
        message: Of its commit.
        files: New images, relative to the root.
        texts: What the files that git tracks will hold, by path relative to the root; ``images.dvc`` follows from the
            images.
    """

    before: str
    tag: str
    message: str
    files: list[str]
    texts: dict[str, str]


@contextmanager
def recoverable(repository: DatasetRepository, begun: Begun) -> Iterator[None]:
    """Keep a note while the block adds a version; if it fails, bring the version before back.

    The note goes once the data set is whole again, so that it never speaks of what people do later.
    """
    note = _note_of(repository)
    note.write_text(json.dumps(asdict(begun)), encoding="utf-8")
    try:
        yield
    except BaseException:
        bring_back(repository, begun.before)
        note.unlink()
        raise
    note.unlink()


def recover(repository: DatasetRepository) -> None:
    """Undo what a killed process began; a version that got its tag is whole.

    Raises:
        DatasetError: Somebody has worked on what it left; nothing was touched.
    """
    note = _note_of(repository)
    if not note.exists():
        return
    begun = _read(note)
    if begun is not None and begun.tag not in repository.git.tags():
        _undo(repository, begun)
    note.unlink()


def _note_of(repository: DatasetRepository) -> Path:
    return repository.root.parent / f".{repository.root.name}.adding"


def _read(note: Path) -> Begun | None:
    try:
        return Begun(**json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None  # cut short: it is written before anything else


def _undo(repository: DatasetRepository, begun: Begun) -> None:
    git, name = repository.git, repository.root.name
    # The version goes onto main; somebody may have gone elsewhere meanwhile.
    main = git.commit_of("refs/heads/main")
    is_there = main is None or git.branch() == "main"
    tip = main or repository.head()
    if tip != begun.before and not _is_its_commit(git, tip, begun):
        raise _refusal(repository, begun, f"commit {tip[:10]}")
    work = _work(repository, begun) if is_there else []
    if work:
        raise _refusal(repository, begun, work[0])
    _log.warning("%s: version %s was begun and not finished: undone", name, begun.tag)
    if is_there:
        for path in begun.files:
            (repository.root / path).unlink(missing_ok=True)
        git.run("reset", "--hard", "--quiet", begun.before)
    elif tip != begun.before:
        git.run("branch", "--force", "main", begun.before)


def _is_its_commit(git: Git, commit: str, begun: Begun) -> bool:
    """Whether a commit holds what was begun, and nothing else."""
    return (
        git.commit_of(f"{commit}^") == begun.before
        and git.run("log", "-1", "--format=%B", commit).strip() == begun.message
        and _changed(git, begun.before, commit) == {_IMAGES_RECORD, *begun.texts}
        and all(git.run("show", f"{commit}:{name}") == text for name, text in begun.texts.items())
    )


def _work(repository: DatasetRepository, begun: Begun) -> list[str]:
    """Files of the working copy that a reset would take from somebody; it leaves images and untracked files alone."""
    changed = _changed(repository.git, begun.before) | _changed(repository.git, "--cached", begun.before)
    changed.discard(_IMAGES_RECORD)
    return sorted(name for name in changed if not _is_written(repository.root / name, begun.texts.get(name)))


def _is_written(path: Path, text: str | None) -> bool:
    """Whether a file holds what was to be written; the kill may have cut it short."""
    return text is not None and path.is_file() and text.encode().startswith(path.read_bytes())


def _changed(git: Git, *between: str) -> set[str]:
    return set(git.run("diff", "--name-only", "--no-renames", "-z", *between).split("\0")) - {""}


def _refusal(repository: DatasetRepository, begun: Begun, what: str) -> DatasetError:
    root = repository.root
    return DatasetError(
        f"the data set {root.name} holds work on top of version {begun.tag}, which was begun and not finished: {what}",
        f"take what you need and go back to where it began, git -C {root} reset --hard {begun.before[:10]}; or keep all "
        f"as it is and delete {_note_of(repository)}",
    )
