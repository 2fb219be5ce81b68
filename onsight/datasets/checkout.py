"""The flow's DVC step: brings a data set's working copy to the tag that the config asks for, without losing work."""

from __future__ import annotations

import difflib
import logging

from onsight.config.dataset import DatasetConfig
from onsight.datasets.annotations import read_annotations
from onsight.datasets.repository import DatasetRepository
from onsight.domain import DatasetVersion
from onsight.errors import DatasetError

__all__ = ["checkout_dataset"]

_SHOWN = 5
_log = logging.getLogger(__name__)


def checkout_dataset(config: DatasetConfig) -> DatasetVersion:
    """Bring the working copy to ``dvc_tag`` and read it.

    Deleted files are restored, because git and DVC still hold them. Files that were added or modified are somebody's
    work: with ``discard_changes`` they are thrown away, otherwise the check-out is refused. With
    ``dvc_checkout: false`` the working copy is used as it is, and the tag that is recorded says so.

    Returns:
        The data set, its annotations read after the check-out.

    Raises:
        DatasetError: No such data set or tag, uncommitted work, images that neither cache nor remote hold, or
            annotations that do not agree with the files.
    """
    repository = _open(config)
    if not config.dvc_checkout:
        dirty = "-dirty" if repository.is_changed() else ""
        return read_annotations(repository.root, repository.describe() + dirty, repository.head(), config.ds_name)
    commit = _commit_of_tag(repository, config)
    changed = _clear_the_way(repository, config)
    elsewhere = repository.head() != commit
    if elsewhere:
        branch = repository.switch(commit)
        where = f"branch {branch}" if branch else "detached HEAD, the branches are untouched"
        _log.info("%s: now at %s (%s)", config.ds_name, config.dvc_tag, where)
    if (changed or elsewhere) and repository.restore_data():
        _log.info("%s: images restored to %s", config.ds_name, config.dvc_tag)
    return read_annotations(repository.root, config.dvc_tag, commit, config.ds_name)


def _open(config: DatasetConfig) -> DatasetRepository:
    repository = DatasetRepository(config.ds_root / config.ds_name)
    if repository.exists():
        return repository
    others = sorted(path.parent.name for path in config.ds_root.glob("*/.dvc") if not path.parent.name.startswith("."))
    what = "is no git + DVC repository" if repository.root.exists() else "does not exist"
    raise DatasetError(
        f"the data set {repository.root} {what}; data sets in {config.ds_root}: {', '.join(others) or 'none'}",
        f"make it: python -m onsight.datasets import FOLDER --name {config.ds_name} (the demo: make dataset)",
    )


def _commit_of_tag(repository: DatasetRepository, config: DatasetConfig) -> str:
    commit = repository.git.commit_of(f"refs/tags/{config.dvc_tag}")
    if commit is None:
        tags = repository.git.tags()
        near = difflib.get_close_matches(config.dvc_tag, tags, n=1)
        raise DatasetError(
            f"the data set {config.ds_name} has no tag {config.dvc_tag}; its tags: {', '.join(tags) or 'none'}",
            f"set dataset.dvc_tag: {near[0]}" if near else "set dataset.dvc_tag to one of them",
        )
    return commit


def _clear_the_way(repository: DatasetRepository, config: DatasetConfig) -> bool:
    """Make git's files equal to their commit, or refuse; answers whether anything differed."""
    changes = repository.changes()
    if changes.work and not config.discard_changes:
        raise DatasetError(
            f"the data set {config.ds_name} holds uncommitted work, which a check-out of {config.dvc_tag} would lose: "
            f"{_listed('added', changes.added)}{_listed('modified', changes.modified)}nothing was changed",
            f"keep it as a version: cd {repository.root} && dvc add images && git add -A && git commit -m '...' && "
            "git tag vX.Y.Z && dvc push; or throw it away: dataset.discard_changes: true; "
            "or use it as it is: dataset.dvc_checkout: false",
            added=changes.added,
            modified=changes.modified,
        )
    if changes.work:
        _log.warning("%s: %d uncommitted changes thrown away", config.ds_name, len(changes.work))
    elif changes.deleted:
        _log.info("%s: %d deleted files are restored", config.ds_name, len(changes.deleted))
    if repository.git.status():
        repository.discard_changes()
    return bool(changes)


def _listed(what: str, paths: tuple[str, ...]) -> str:
    if not paths:
        return ""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{len(paths)} {what} ({', '.join(paths[:_SHOWN])}{more}); "
