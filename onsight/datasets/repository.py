"""A data set's git + DVC repository: what changed in it, how it is brought to a commit, how a version is added."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onsight.datasets.git import Git
from onsight.datasets.layout import ANNOTATIONS_FILE, IMAGES_FOLDER
from onsight.errors import DatasetError

if TYPE_CHECKING:
    from dvc.repo import Repo

__all__ = ["Changes", "DatasetRepository"]

_DVC_CONFIG = """\
[core]
    analytics = false
    remote = storage
['remote "storage"']
    url = {url}
"""


@dataclass(frozen=True)
class Changes:
    """What differs between the working copy and its commit, as paths relative to the root.

    Attributes:
        deleted: Of git and DVC together. Both still hold these files, so nothing is lost by restoring them.
    """

    added: tuple[str, ...]
    modified: tuple[str, ...]
    deleted: tuple[str, ...]

    @property
    def work(self) -> tuple[str, ...]:
        """What exists nowhere but in the working copy."""
        return (*self.added, *self.modified)

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.deleted)


class DatasetRepository:
    """One data set's repository.

    Raises:
        DatasetError: By every method, when git or DVC fails.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.git = Git(self.root)

    @classmethod
    def create(cls, root: Path, remote_url: str) -> DatasetRepository:
        """Make an empty repository.

        Args:
            root: An existing folder.
            remote_url: DVC's remote; a relative path counts from the folder ``.dvc``.
        """
        repository = cls(root)
        repository.git.init()
        _import_dvc()
        from dvc.repo import Repo

        with _translated(root):
            Repo.init(str(repository.root)).close()
        (root / ".dvc" / "config").write_text(_DVC_CONFIG.format(url=remote_url), encoding="utf-8")
        return repository

    def exists(self) -> bool:
        """Whether the folder is a git + DVC repository of its own."""
        return (self.root / ".git").exists() and (self.root / ".dvc").is_dir()

    def head(self) -> str:
        """The full hash of the commit that the working copy is at."""
        commit = self.git.commit_of("HEAD")
        if commit is None:
            raise DatasetError(f"{self.root} has no commit yet", "import images into it, or commit and tag a version")
        return commit

    def is_changed(self) -> bool:
        """Whether the working copy differs from its commit at all."""
        with self._dvc() as dvc:
            return bool(self.git.status()) or not _is_clean(dvc)

    def changes(self) -> Changes:
        """Compare the working copy with its commit, file by file: git's and, through their hashes, DVC's."""
        states = self.git.status()
        added = [path for path, state in states.items() if state in ("??", "A ")]
        deleted = [path for path, state in states.items() if state == " D"]
        modified = [path for path in states if path not in added and path not in deleted]
        with self._dvc() as dvc:
            if not _is_clean(dvc):
                if _lacks_cache(dvc):
                    self._fetch(dvc)  # without the recorded list of files nobody can tell what changed
                found = dvc.data_status(granular=True, untracked_files="no", with_renames=False)["uncommitted"]
                added += _files(found.get("added", ()))
                modified += _files([*found.get("modified", ()), *found.get("unknown", ())])
                deleted += _files(found.get("deleted", ()))
        return Changes(tuple(added), tuple(modified), tuple(deleted))

    def discard_changes(self) -> None:
        """Throw away what git does not hold; DVC's files follow with ``restore_data``."""
        self.git.run("reset", "--hard", "--quiet")
        self.git.run("clean", "-d", "--force", "--quiet")

    def switch(self, commit: str) -> str:
        """Bring git's files to a commit: on a branch whose tip it is, otherwise with a detached HEAD.

        Returns:
            The branch, or an empty string.

        Raises:
            DatasetError: HEAD is detached and holds commits that no branch or tag would keep.
        """
        head = self.head()
        kept = self.git.run("for-each-ref", f"--contains={head}", "--count=1", "refs/heads", "refs/tags")
        if not kept:
            raise DatasetError(
                f"{self.root} is at commit {head[:10]}, which belongs to no branch and no tag: it would be lost",
                f"keep it: git -C {self.root} branch my-work {head[:10]}",
            )
        branches = self.git.branches_at(commit)
        branch = "main" if "main" in branches else next(iter(branches), "")
        self.git.run("checkout", "--quiet", *([branch] if branch else ["--detach", commit]))
        return branch

    def restore_data(self) -> bool:
        """Bring DVC's files to what the commit says; from the cache or, where that lacks them, from the remote.

        Returns:
            Whether anything had to be done.

        Raises:
            DatasetError: Neither the cache nor the remote holds the files.
        """
        with self._dvc() as dvc:
            if _is_clean(dvc):
                return False
            if _lacks_cache(dvc):
                self._fetch(dvc)
            dvc.checkout(force=True)  # never asks; the caller has looked for the user's work before
            if not _is_clean(dvc):
                raise DatasetError(f"DVC could not restore the images in {self.root}")
        return True

    def add_version(self, tag: str, message: str) -> str:
        """Commit the working copy, push its images to the remote and tag it, the tag last.

        Returns:
            The full hash of the commit.

        Raises:
            DatasetError: Images and annotations are the same as in the commit before.
        """
        with self._dvc() as dvc:
            dvc.add(str(self.root / IMAGES_FOLDER))
        self.git.run("add", "--all")
        unchanged = ("diff", "--cached", "--quiet", "HEAD", "--", f"{IMAGES_FOLDER}.dvc", ANNOTATIONS_FILE)
        if self.git.commit_of("HEAD") and self.git.succeeds(*unchanged):
            raise DatasetError(f"{tag} would hold the same images and labels as {self.describe()}; nothing was added")
        self.git.run_as_committer("commit", "--quiet", "--no-verify", "--message", message)
        with self._dvc() as dvc:
            dvc.push()
        self.git.run_as_committer("tag", "--annotate", "--message", message, tag)
        return self.head()

    def holds(self, tag: str, later: str) -> bool:
        """Whether one version is another or went into it: there are both, and the later one descends from it."""
        return self.git.succeeds("merge-base", "--is-ancestor", f"refs/tags/{tag}", f"refs/tags/{later}")

    def describe(self) -> str:
        """The nearest tag before the commit, with the distance where there is one."""
        return self.git.run("describe", "--tags", "--always").strip()

    def _fetch(self, dvc: Repo) -> None:
        from dvc.exceptions import DvcException

        logging.getLogger(__name__).info("%s: pulling images from the DVC remote", self.root.name)
        reason: Exception | None = None
        try:
            dvc.fetch()
        except DvcException as error:
            reason = error
        if _lacks_cache(dvc):
            why = f" ({reason})" if reason else ""
            raise DatasetError(
                f"{self.root}: neither the DVC cache nor the remote holds all images of this version{why}",
                f"see that the remote in {self.root}/.dvc/config is there, or import the images again",
            ) from reason

    @contextmanager
    def _dvc(self) -> Iterator[Repo]:
        _import_dvc()
        from dvc.repo import Repo

        with _translated(self.root), Repo(str(self.root)) as dvc:
            yield dvc


def _import_dvc() -> None:
    """Import DVC with its telemetry off and its advice for the command line silenced."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    import dvc.repo  # noqa: F401

    logging.getLogger("dvc").setLevel(logging.WARNING)


@contextmanager
def _translated(root: Path) -> Iterator[None]:
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise DatasetError(f"DVC failed in {root}: {error}") from error


def _is_clean(dvc: Repo) -> bool:
    """Whether the hash of each tracked file and folder is the recorded one; needs no cache."""
    return not any(out.workspace_status() for out in dvc.index.outs)


def _lacks_cache(dvc: Repo) -> bool:
    return any(out.changed_cache() for out in dvc.index.outs)


def _files(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if not path.endswith("/")]
