"""Versions of models with their bundles: which are outdated, and their removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from onsight.bundle import bundle_bytes, list_bundles, read_metadata, remove_bundle
from onsight.config import VersionRetention
from onsight.db import Database, live_workers, newest_desired, wished_versions
from onsight.registry import ModelRegistry, promoted_versions
from onsight.retention.report import Share
from onsight.retention.rule import Dated, outdated
from onsight.storage import ArtifactStore

__all__ = ["Place", "StoredVersion", "collect_versions", "stored_versions"]

# Set on every version that a flow registers: those of other programs are none of ours.
_OURS = "dataset_tag"


@dataclass(frozen=True)
class Place:
    """Where versions are, and who points at them."""

    database: Database
    registry: ModelRegistry
    store: ArtifactStore


@dataclass(frozen=True)
class StoredVersion:
    """A version that is registered, published, or both."""

    model_name: str
    version: int
    run_id: str
    created_at: datetime

    @property
    def bundle_name(self) -> str:
        """``<model_name>-v<version>``."""
        return f"{self.model_name}-v{self.version}"


def stored_versions(place: Place) -> list[StoredVersion]:
    """Every version that the registry or central storage holds.

    Raises:
        DependencyError: The registry does not answer.
        StorageError: Storage cannot be read.
        BundleError: The metadata of a bundle without a registered version cannot be read.
    """
    bundles = set(list_bundles(place.store))
    found = {
        version.bundle_name: StoredVersion(version.model_name, version.version, version.run_id, version.created_at)
        for version in place.registry.versions()
        if version.created_at and (_OURS in version.tags or version.bundle_name in bundles)
    }
    for name in sorted(bundles - found.keys()):
        metadata = read_metadata(place.store, name)
        found[name] = StoredVersion(metadata.model_name, metadata.version, metadata.run_id, metadata.created_at)
    return list(found.values())


def collect_versions(
    place: Place, versions: Sequence[StoredVersion], rule: VersionRetention, now: datetime, *, apply: bool
) -> Share:
    """Remove the outdated versions, each bundle before its entry in the registry, or name them.

    What points at a version is asked for again just before it goes. A removal that was cut off leaves the entry in the
    registry, and so is found and finished by the next run.

    Raises:
        DependencyError: The registry or the database does not answer.
        StorageError: Storage fails.
    """
    reasons = _reasons_to_keep(place, {version.model_name for version in versions})
    dated = [Dated(version.model_name, version.created_at, version.bundle_name) for version in versions]
    names = outdated(dated, rule, reasons, now)
    kept = {name: reasons[name] for name in outdated(dated, rule, (), now) if name in reasons}
    by_name = {version.bundle_name: version for version in versions}
    size_bytes, gone = 0, []
    for name in names:
        version = by_name[name]
        if apply and name in _reasons_to_keep(place, {version.model_name}):
            continue
        size_bytes += bundle_bytes(place.store, name)
        gone.append(name)
        if apply:
            remove_bundle(place.store, name)
            place.registry.delete_version(version.model_name, version.version)
    return Share("versions and bundles", len(gone), size_bytes, tuple(gone), kept)


def _reasons_to_keep(place: Place, model_names: set[str]) -> dict[str, str]:
    """Why a version may never go, by bundle name."""
    reasons: dict[str, str] = {}
    for model_name in model_names:
        for version in wished_versions(place.database, model_name):
            reasons[f"{model_name}-v{version}"] = "it was deployed"
        for version in promoted_versions(place.store, model_name):
            reasons[f"{model_name}-v{version}"] = "a promotion record names it"
    for registered in place.registry.versions():
        if registered.aliases:
            reasons[registered.bundle_name] = f"it is the {' and '.join(registered.aliases)}"
    for worker in live_workers(place.database):
        reasons[worker.bundle_name] = f"{worker.worker_id} serves it"
    wish = newest_desired(place.database)
    if wish is not None:
        reasons[wish.bundle_name] = "it is to be served"
    return reasons
