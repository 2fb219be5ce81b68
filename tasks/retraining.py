"""The stages of retraining by policy: the decision, and the version of the data set that it trains on."""

from __future__ import annotations

from datetime import UTC, datetime

from onsight.bundle import read_metadata
from onsight.config import DatasetConfig
from onsight.datasets import add_reviewed
from onsight.datasets.repository import DatasetRepository
from onsight.db import Database, note_dataset_tag
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.retraining import Claim, RetrainingRequest, Ruling, rule
from onsight.settings import Settings
from onsight.storage import open_store
from tasks.stage import stage

__all__ = ["decide_retraining", "prepare_new_version"]


@stage("retraining decision")
def decide_retraining(database: Database, request: RetrainingRequest) -> Ruling:
    """Decide now, and write the decision down."""
    return rule(database, request, datetime.now(UTC))


@stage("new data set version")
def prepare_new_version(database: Database, claim: Claim, config: DatasetConfig, settings: Settings) -> str | None:
    """Put the reviewed labels into a new version of the data set; the tag to train on.

    Without reviewed labels it is the version that an earlier training was to use and came to no verdict on, or the
    config's; None if the served version was trained on that one, or on a later one.

    Raises:
        DatasetError: The new version cannot be made, or the data set holds uncommitted work.
    """
    archive = ImageArchive(settings.image_archive_dir, ArchivePolicy())
    added = add_reviewed(database, archive, config.ds_root, config.ds_name, model_name=claim.model_name)
    if added is not None:
        # Its labels wait no longer: were it forgotten now, no later training would know of it.
        note_dataset_tag(database, claim.seq, added)
    tag = added or claim.pending_tag or config.dvc_tag
    served = read_metadata(open_store(settings), claim.bundle_name)
    repository = DatasetRepository(config.ds_root / config.ds_name)
    if served.dataset_name == config.ds_name and repository.holds(tag, served.dataset_tag):
        return None
    if added is None:
        note_dataset_tag(database, claim.seq, tag)
    return tag
