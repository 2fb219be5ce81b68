"""The drift monitor with real traffic, Prefect, MLflow, storage and webhook: quiet, corrupted, confirmed, told once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image, ImageEnhance, ImageFilter
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.variables import Variable
from sqlalchemy import select

from flows.summary import RunSummary
from onsight.bundle import BundleParts, GoldenImages, OnnxClassifier, publish_bundle
from onsight.config import read_config
from onsight.db import (
    Database,
    DriftAlertRow,
    DriftResultRow,
    PredictionRecord,
    WindowQuery,
    insert_records,
    open_database,
    read_window,
    uuid7,
)
from onsight.domain import BundleMetadata, DatasetVersion, Split
from onsight.drift import DetectorSpec, fit_detector, save_detector, write_reference
from onsight.errors import BundleError, StorageError
from onsight.serving import predict_files
from onsight.settings import Settings
from onsight.storage import open_store
from tasks.release import make_reference
from tests.integration.flows.conftest import run_command
from tests.servers import pictures
from tests.servers.bundle import CLASSES, SIZE, UAE_DIMS, write_small_graph
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.webhook import WebhookServer

pytestmark = pytest.mark.timeout(900)
N_REFERENCE = 60


@pytest.fixture
def photographs(plankton_images: list[Path]) -> tuple[list[Path], list[Path]]:
    """60 for the reference and 45 others for traffic, drawn from the same mix."""
    order = np.random.default_rng(2).permutation(len(plankton_images))
    return [plankton_images[row] for row in order[:N_REFERENCE]], [plankton_images[row] for row in order[N_REFERENCE:]]


@pytest.fixture
def bundle_name(
    settings: Settings, photographs: tuple[list[Path], list[Path]], plankton_folder: Path, tmp_path: Path
) -> str:
    """A published bundle whose reference is real photographs, answered by its own graph."""
    folder = tmp_path / "parts"
    folder.mkdir()
    class_weights = write_small_graph(folder / "model.onnx", seed=1)
    classifier = OnnxClassifier.load(folder / "model.onnx")
    answered = predict_files(classifier, photographs[0])
    labels = np.eye(len(CLASSES), dtype=np.float32)[answered.output.probabilities.argmax(axis=1)]
    sample = Split("reference", tuple(photographs[0]), labels)
    dataset = DatasetVersion(plankton_folder.name, "v1.0.0", "0" * 40, plankton_folder, CLASSES, {"test": sample})
    reference = make_reference(dataset, sample, answered)
    write_reference(reference, folder / "reference.parquet")
    for name, features in (("uae", reference.uae_features), ("bbsd", reference.bbsd_features)):
        save_detector(fit_detector(DetectorSpec(name), features), folder / name)  # type: ignore[arg-type]
    (folder / "model.keras").write_bytes(b"not read here")
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    golden = GoldenImages(images, classifier.run(images).probabilities)
    parts = BundleParts(
        folder / "model.keras", folder / "model.onnx", golden, folder / "uae", folder / "bbsd",
        folder / "reference.parquet", class_weights,
    )  # fmt: skip
    metadata = BundleMetadata(
        model_name="plankton", version=1, classes=CLASSES, classifier_type="multi-class", architecture="small_cnn",
        input_width=SIZE, input_height=SIZE, uae_dims=UAE_DIMS, run_id="run", created_at=datetime.now(UTC),
        dataset_name=plankton_folder.name, dataset_tag="v1.0.0", dataset_revision="0" * 40, metrics={},
        drift_detector="native", drift_test="ks", drift_p_value=0.01, reference_rows=N_REFERENCE, sha256="",
    )  # fmt: skip
    return publish_bundle(open_store(settings), parts, metadata).bundle_name


@pytest.fixture
def service(settings: Settings, bundle_name: str, tmp_path: Path, prefect_api_url: str) -> Iterator[ServiceProcess]:
    """A service of the same place that serves the bundle; Prefect's variable still names what was deployed before."""
    running = ServiceProcess(tmp_path, ONSIGHT_CENTRAL_STORAGE_URL=settings.central_storage_url)
    assert running.state_dir == settings.state_dir
    running.start()
    running.deploy(bundle_name)
    with temporary_settings({PREFECT_API_URL: prefect_api_url}):
        Variable.set("current_model_metadata_file", "models/plankton-v9.yaml", overwrite=True)
    yield running
    running.kill()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.predictions_database_url)
    yield opened
    opened.close()


@pytest.fixture
def webhook(webhook_server: WebhookServer, monkeypatch: pytest.MonkeyPatch) -> WebhookServer:
    """Where the settings send alerts."""
    monkeypatch.setenv("ONSIGHT_ALERT_WEBHOOK_URL", webhook_server.url)
    return webhook_server


class Traffic:
    """Sends photographs to the service and waits until they are in the database."""

    def __init__(self, service: ServiceProcess, database: Database) -> None:
        self._service = service
        self._database = database
        self._sent = 0

    def send(self, paths: Sequence[Path], change: Callable[[Image.Image], Image.Image] | None = None) -> None:
        for path in paths:
            content = path.read_bytes() if change is None else changed(path, change)
            httpx.post(f"{self._service.url}/predict", files={"file": content}, trust_env=False).raise_for_status()
        self._sent += len(paths)
        wait_until(lambda: self._logged() == self._sent, 60)

    def _logged(self) -> int:
        return read_window(self._database, WindowQuery("plankton", 1, max_rows=10_000, kept_rows=1)).n_rows


@pytest.fixture
def traffic(service: ServiceProcess, database: Database) -> Traffic:
    return Traffic(service, database)


def changed(path: Path, change: Callable[[Image.Image], Image.Image]) -> bytes:
    with Image.open(path) as image:
        return pictures.encode(change(image.convert("RGB")), "PNG")


def bad_camera(image: Image.Image) -> Image.Image:
    """Out of focus and too dark."""
    return ImageEnhance.Brightness(image.filter(ImageFilter.GaussianBlur(3))).enhance(0.5)


@dataclass(frozen=True)
class Place:
    """Where the monitor runs, and what it reads and writes there."""

    settings: Settings
    config: Path
    traffic: Traffic
    database: Database
    prefect_api_url: str

    def monitor(self) -> RunSummary:
        """Runs the flow in this process: starting one costs more than the flow."""
        config = read_config(self.config)
        with temporary_settings({PREFECT_API_URL: self.prefect_api_url}):
            summary: RunSummary = import_module(config.flow_module).start(config)
        return summary

    def results(self) -> list[Any]:
        return self._rows(DriftResultRow, DriftResultRow.seq)

    def verdicts(self) -> list[Any]:
        return [row for row in self.results() if row.test == "combined"]

    def alerts(self) -> list[Any]:
        return self._rows(DriftAlertRow, DriftAlertRow.raised_at)

    def answered_before(self, version: int) -> None:
        """A prediction of another version."""
        values: dict[str, Any] = dict.fromkeys(PredictionRecord.__dataclass_fields__, 1)
        values |= {
            "prediction_id": uuid7(), "request_id": "before", "model_name": "plankton", "model_version": version,
            "created_at": datetime.now(UTC), "probabilities": [1.0], "top_class": CLASSES[0], "confidence": 1.0,
            "uae_feats": [0.5], "bbsd_feats": [1.0], "image_sha256": "0" * 64, "image_format": "PNG",
            "client": "127.0.0.1", "timings_ms": {},
        }  # fmt: skip
        insert_records(self.database, [PredictionRecord(**values)])

    def _rows(self, model: Any, order: Any) -> list[Any]:
        with self.database.transaction() as connection:
            return list(connection.execute(select(*model.__table__.c).order_by(order)))


@pytest.fixture
def place(
    settings: Settings,
    traffic: Traffic,
    database: Database,
    plankton_folder: Path,
    prefect_api_url: str,
    tmp_path: Path,
) -> Place:
    window = {"max_rows": 45, "burst_s": 0}
    monitor = {"window": window, "ds_root": str(plankton_folder.parent)}
    path = tmp_path / "monitor.yaml"
    path.write_text(yaml.safe_dump({"flow_module": "flows.monitor_flow", "monitor": monitor}))
    return Place(settings, path, traffic, database, prefect_api_url)


@pytest.mark.slow
def test_monitor_when_the_camera_goes_bad_then_confirms_and_tells_once(
    place: Place, webhook: WebhookServer, photographs: tuple[list[Path], list[Path]]
) -> None:
    images = photographs[1]
    place.traffic.send(images)
    assert place.monitor().title == "plankton-v1: no drift"

    place.traffic.send(images, bad_camera)
    assert place.monitor().title == "plankton-v1: drift"
    # Nothing came since: the same window cannot confirm itself.
    assert place.monitor().title == "plankton-v1: drift"
    assert webhook.posts == []

    webhook.statuses = [503]
    place.traffic.send(images[:5], bad_camera)
    assert place.monitor().title == "plankton-v1: drift, confirmed"
    place.traffic.send(images[5:10], bad_camera)
    assert place.monitor().title == "plankton-v1: drift, confirmed"

    (post,) = webhook.posts
    assert "image properties" in post["cause"]
    assert post["report"] in post["text"]
    (alert,) = place.alerts()
    assert (alert.run_id, alert.cause, alert.report) == (post["run_id"], post["cause"], post["report"])
    tests = ["uae", "bbsd", "class_mix", "confidence", "properties", "combined"]
    assert [row.test for row in place.results()] == tests * 5
    verdicts = place.verdicts()
    assert [row.verdict for row in verdicts] == ["no drift"] + ["drift"] * 4
    assert [row.details["confirmed"] for row in verdicts] == [False, False, False, True, True]
    assert verdicts[0].details["versions"]["bundle"] == "plankton-v1"
    assert [bool(row.details["report"]) for row in verdicts] == [False, True, True, True, True]
    assert alert.told_at is not None
    assert len(verdicts[-1].details["most_drifted"]) == 45
    assert alert.run_id == verdicts[3].run_id
    check_evidence(place, verdicts[3])


def check_evidence(place: Place, combined: Any) -> None:
    page = Path(combined.details["report"]).read_text()
    assert "Verdict: <strong>drift</strong>" in page
    assert page.count("data:image/jpeg") == 8 + 8 + 16
    assert "http://" not in page
    assert "https://" not in page
    client = MlflowClient(place.settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name("drift-monitor")
    assert experiment is not None
    (tracked,) = client.search_runs([experiment.experiment_id], f"tags.`onsight.drift_run` = '{combined.run_id}'")
    assert [artifact.path for artifact in client.list_artifacts(tracked.info.run_id, "drift")] == ["drift/report.html"]
    assert tracked.data.metrics["p_combined"] == pytest.approx(combined.p_value)
    with temporary_settings({PREFECT_API_URL: place.prefect_api_url}), get_client(sync_client=True) as prefect:
        shown = prefect.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["drift-plankton"])))
    assert any("drift, confirmed" in str(artifact.data) for artifact in shown)


def test_monitor_when_there_are_few_rows_or_none_then_gives_no_verdict(
    place: Place, webhook: WebhookServer, photographs: tuple[list[Path], list[Path]]
) -> None:
    assert place.monitor().title == "plankton-v1: not enough data"

    place.traffic.send(photographs[1][:10], bad_camera)
    done = run_command(place.config)
    assert done.code == 0, done.err
    assert "combined: not enough data (10 predictions against 60 references)" in done.out

    assert {row.verdict for row in place.results()} == {"not enough data"}
    assert [row.window_end is None for row in place.results()] == [True] * 6 + [False] * 6
    assert webhook.posts == []


@pytest.mark.slow
def test_monitor_when_storage_and_mlflow_and_webhook_fail_then_the_results_stay_and_the_next_run_tells(
    place: Place, webhook: WebhookServer, photographs: tuple[list[Path], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.traffic.send(photographs[1], bad_camera)
    reports = Path(place.settings.central_storage_url) / "drift"
    reports.write_text("in the way")
    with pytest.raises(StorageError):
        place.monitor()
    place.traffic.send(photographs[1][:3], bad_camera)
    webhook.statuses = [404]
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(StorageError):
            place.monitor()

    verdict = place.verdicts()[-1]
    assert (verdict.verdict, verdict.details["confirmed"], verdict.details["report"]) == ("drift", True, "")
    assert len(verdict.details["problems"]) == 2
    assert webhook.posts == []
    (alert,) = place.alerts()
    assert (alert.run_id, alert.told_at) == (verdict.run_id, None)

    reports.unlink()
    place.traffic.send(photographs[1][3:6], bad_camera)
    place.monitor()
    (told,) = place.alerts()
    assert told.run_id == alert.run_id
    assert told.told_at is not None
    (post,) = webhook.posts
    assert (post["run_id"], post["p_value"], post["links"]) == (alert.run_id, pytest.approx(verdict.p_value), {})

    place.traffic.send(photographs[1][6:9], bad_camera)
    assert place.monitor().title == "plankton-v1: drift, confirmed"
    assert len(webhook.posts) == len(place.alerts()) == 1


@pytest.mark.slow
def test_monitor_when_a_detector_and_an_old_version_are_damaged_then_people_are_told_and_the_run_fails(
    place: Place, webhook: WebhookServer, photographs: tuple[list[Path], list[Path]]
) -> None:
    raw = yaml.safe_load(place.config.read_text())
    raw["monitor"]["alert"] = {"drifted": 1, "of_last": 1}
    place.config.write_text(yaml.safe_dump(raw))
    models = Path(place.settings.central_storage_url) / "models"
    (models / "plankton-v1_uae/reference.npz").write_bytes(b"damaged")
    place.answered_before(version=7)
    (models / "plankton-v7.yaml").write_text("damaged")
    place.traffic.send(photographs[1], bad_camera)

    with pytest.raises(BundleError, match="plankton-v1_uae"):
        place.monitor()

    (verdict,) = place.verdicts()
    assert (verdict.verdict, verdict.details["confirmed"], len(verdict.details["problems"])) == ("drift", True, 1)
    assert len(webhook.posts) == len(place.alerts()) == 1
    assert "Verdict: <strong>drift</strong>" in Path(verdict.details["report"]).read_text()
