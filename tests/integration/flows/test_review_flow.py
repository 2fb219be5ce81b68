"""The review flow: its plan, and its stage over a real database, bundle and image archive."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from onsight.bundle import Bundle
from onsight.config import ReviewConfig
from onsight.db import PredictionRecord, insert_records, open_database, open_review_items, upgrade, uuid7
from onsight.image_archive import ArchivePolicy, ImageArchive
from onsight.settings import Settings
from onsight.storage import open_store
from tasks.review import choose_for_review
from tests.integration.flows.conftest import run_command
from tests.servers import pictures
from tests.servers.bundle import BundleStore


def test_plan_of_the_review_flow_says_what_it_would_choose_from() -> None:
    outcome = run_command(Path("configs/review_flow_config.yaml"), "--plan", "--set", "review.budget=7")

    assert outcome.code == 0
    assert "up to 7 waiting items, from the 5000 newest predictions" in " ".join(outcome.out.split())
    assert "nothing was run" in outcome.out


def test_stage_fills_the_queue_from_the_version_that_the_metadata_file_names(
    bundle_store: BundleStore, small_bundle: Bundle, tmp_path: Path
) -> None:
    settings = Settings(state_dir=tmp_path, central_storage_url=bundle_store.url)
    database = open_database(settings.predictions_database_url)
    upgrade(database)
    archive = ImageArchive(settings.image_archive_dir, ArchivePolicy())
    archive.start()
    records = [_answered(small_bundle, pictures.jpeg(seed), archive) for seed in range(12)]
    insert_records(database, [*records, replace(records[0], prediction_id=uuid7(), model_version=2)])
    archive.close()
    store, name = open_store(settings), f"{bundle_store.first}.yaml"

    report = choose_for_review.fn(store, name, ReviewConfig(budget=3, min_distance=0), settings)

    waiting = open_review_items(database, 10)
    database.close()
    assert (report.n_looked_at, report.n_added, report.n_open) == (12, {"uncertain": 3}, 3)
    least_certain = min(records, key=lambda record: float(np.diff(np.sort(record.probabilities))[-1]))
    assert least_certain.prediction_id in [one.item.prediction_id for one in waiting]
    assert {one.item.model_version for one in waiting} == {1}


def _answered(bundle: Bundle, content: bytes, archive: ImageArchive) -> PredictionRecord:
    """What the bundle says of an image, which goes to the archive."""
    from onsight.images import read_image

    metadata = bundle.metadata
    output = bundle.classifier.run(read_image(content, metadata.input_width, metadata.input_height)[np.newaxis])
    sha256 = hashlib.sha256(content).hexdigest()
    archive.keep(sha256, content)
    probabilities = output.probabilities[0]
    return PredictionRecord(
        prediction_id=uuid7(),
        request_id="r",
        model_name=metadata.model_name,
        model_version=metadata.version,
        created_at=datetime.now(UTC),
        probabilities=probabilities.tolist(),
        top_class=metadata.classes[int(probabilities.argmax())],
        confidence=float(probabilities.max()),
        uae_feats=output.uae_features[0].tolist(),
        bbsd_feats=output.bbsd_features[0].tolist(),
        image_sha256=sha256,
        image_bytes=len(content),
        image_width=90,
        image_height=60,
        image_format="JPEG",
        client="::1",
        timings_ms={},
    )
