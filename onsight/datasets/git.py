"""The few git commands that a data set's repository needs: run quietly, never asking anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from onsight.errors import DatasetError

__all__ = ["Git"]

# Set by git while it runs a hook of another repository.
_MISLEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
# A container knows nobody, and a data set is often made on another machine than the one that adds to it.
_COMMITTER = (("user.name", "Onsight"), ("user.email", "onsight@localhost"))


class Git:
    """Git in one working copy.

    The caller's global settings for hooks and signatures are left out, because they may stop and ask.
    """

    _SETTINGS = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false")

    def __init__(self, root: Path) -> None:
        self._root = root

    def run(self, *arguments: str) -> str:
        """Run a command and return what it prints.

        Raises:
            DatasetError: Git is not installed, or the command failed.
        """
        result = self._call(arguments)
        self._check(arguments[0], result)
        return result.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Whether a command ends with exit code 0."""
        return self._call(arguments).returncode == 0

    def commit_of(self, name: str) -> str | None:
        """The full hash of the commit that a tag, branch or ``HEAD`` names, or None."""
        result = self._call(("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"))
        return result.stdout.strip() or None

    def tags(self) -> list[str]:
        """All tags, in version order."""
        return self.run("tag", "--list", "--sort=version:refname").split()

    def status(self) -> dict[str, str]:
        """Two-letter state by path for everything that differs from the commit or is untracked."""
        fields = self.run("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all").split("\0")
        return {field[3:]: field[:2] for field in fields if field}

    def branch(self) -> str | None:
        """The checked-out branch, or None when HEAD is detached."""
        return self._call(("symbolic-ref", "--quiet", "--short", "HEAD")).stdout.strip() or None

    def branches_at(self, commit: str) -> list[str]:
        """Local branches whose tip is a commit."""
        return self.run("for-each-ref", f"--points-at={commit}", "--format=%(refname:short)", "refs/heads").split()

    def init(self) -> None:
        """Make a repository."""
        self.run("init", "--quiet", "--initial-branch=main")

    def run_as_committer(self, *arguments: str) -> None:
        """Run a command that names a committer; it is Onsight where the machine knows none, for this once.

        Raises:
            DatasetError: The command failed.
        """
        missing = [(key, name) for key, name in _COMMITTER if not self.succeeds("config", "--get", key)]
        settings = [word for key, name in missing for word in ("-c", f"{key}={name}")]
        self._check(arguments[0], self._call((*settings, *arguments)))

    def _check(self, command: str, result: subprocess.CompletedProcess[str]) -> None:
        if result.returncode:
            raise DatasetError(f"git {command} failed in {self._root}: {result.stderr.strip()}")

    def _call(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key not in _MISLEADING}
        environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
        command = ["git", "-C", str(self._root), *self._SETTINGS, *arguments]
        try:
            return subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise DatasetError("git is not installed", "install git") from error
