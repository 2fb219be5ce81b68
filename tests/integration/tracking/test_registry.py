"""Logged models and registered versions, in a real MLflow server and in the local file."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from onsight.config import MlflowConfig
from onsight.errors import DependencyError
from onsight.registry import ModelRegistry, open_registry
from onsight.settings import Settings
from onsight.tracking import TrackedRun, open_tracker
from tests.servers.mlflow_server import MlflowServer

CLASSES = ("ok", "crack", "dust")


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network, from uint8 [N, 8, 8, 3] to three probabilities."""
    import keras

    network = keras.Sequential(
        [
            keras.Input((8, 8, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    path = tmp_path_factory.mktemp("network") / "network.keras"
    network.save(path)
    return path


@pytest.fixture(params=["server", "local"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if request.param == "local":
        return Settings(state_dir=tmp_path)
    server: MlflowServer = request.getfixturevalue("mlflow_server")
    return Settings(MLFLOW_TRACKING_URI=server.uri, state_dir=tmp_path)


@pytest.fixture
def run(settings: Settings) -> Iterator[TrackedRun]:
    run = open_tracker(settings).start_run(MlflowConfig(exp_name=f"test-{uuid.uuid4().hex}"), "run")
    yield run
    run.close()


@pytest.fixture
def registry(settings: Settings) -> ModelRegistry:
    return open_registry(settings)


@pytest.fixture
def model_name() -> str:
    return f"cells-{uuid.uuid4().hex}"


def test_a_logged_model_loads_and_answers_as_its_network(
    run: TrackedRun, settings: Settings, keras_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras
    import mlflow

    started = time.perf_counter()
    uri = run.log_model(keras_file, (8, 8), CLASSES)
    assert time.perf_counter() - started < 10
    assert run.unsent == 0

    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    try:
        loaded: Any = mlflow.pyfunc.load_model(uri)
    finally:
        mlflow.set_tracking_uri(previous)
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    expected = keras.saving.load_model(keras_file).predict(images, verbose=0)
    np.testing.assert_allclose(loaded.predict(images), expected, atol=1e-6)
    (given,) = loaded.metadata.signature.inputs.inputs
    (answered,) = loaded.metadata.signature.outputs.inputs
    assert (given.type, given.shape) == (np.dtype("uint8"), (-1, 8, 8, 3))
    assert (answered.type, answered.shape) == (np.dtype("float32"), (-1, 3))
    assert loaded.metadata.metadata == {"classes": list(CLASSES)}
    client = MlflowClient(settings.mlflow_tracking_uri)
    assert len(client.get_run(run.run_id).outputs.model_outputs) == 1


def test_versions_count_up_and_an_alias_moves(
    run: TrackedRun, registry: ModelRegistry, model_name: str, keras_file: Path
) -> None:
    uri = run.log_model(keras_file, (8, 8), CLASSES)
    assert registry.resolve(model_name, "challenger") is None
    assert registry.resolve(model_name, "1") is None
    first = registry.register(model_name, run.run_id, uri, {"dataset.tag": "v1.0.0"})
    second = registry.register(model_name, run.run_id, uri, {})
    assert (first.version, second.version) == (1, 2)
    assert second.bundle_name == f"{model_name}-v2"

    registry.set_alias(model_name, "champion", 1)
    registry.set_alias(model_name, "challenger", 2)
    champion = registry.resolve(model_name, "champion")
    assert champion is not None
    assert (champion.version, champion.run_id, champion.aliases) == (1, run.run_id, ("champion",))
    assert champion.tags["dataset.tag"] == "v1.0.0"

    registry.set_alias(model_name, "champion", 2)
    moved = registry.resolve(model_name, "2")
    assert moved is not None
    assert moved.aliases == ("challenger", "champion")
    listed = [version for version in registry.versions() if version.model_name == model_name]
    assert [(version.version, version.aliases) for version in listed] == [(1, ()), (2, ("challenger", "champion"))]
    assert all(version.created_at for version in listed)
    assert registry.resolve(model_name, "7") is None
    assert registry.resolve(model_name, "nobody") is None


def test_a_deleted_version_is_gone_and_its_number_is_not_given_again_while_others_stand(
    run: TrackedRun, registry: ModelRegistry, model_name: str, keras_file: Path
) -> None:
    uri = run.log_model(keras_file, (8, 8), CLASSES)
    registry.register(model_name, run.run_id, uri, {})
    registry.register(model_name, run.run_id, uri, {})
    registry.set_alias(model_name, "challenger", 1)
    registry.delete_version(model_name, 1)
    registry.delete_version(model_name, 1)
    assert registry.resolve(model_name, "1") is None
    assert registry.resolve(model_name, "challenger") is None
    assert registry.register(model_name, run.run_id, uri, {}).version == 3


def test_a_model_that_was_not_logged_is_not_registered(
    run: TrackedRun, registry: ModelRegistry, model_name: str
) -> None:
    with pytest.raises(DependencyError, match="has not received the model"):
        registry.register(model_name, run.run_id, f"runs:/{run.run_id}/model", {})
    assert registry.resolve(model_name, "1") is None


def test_an_alias_for_no_version_is_refused(registry: ModelRegistry, model_name: str) -> None:
    with pytest.raises(DependencyError):
        registry.set_alias(model_name, "champion", 1)


def test_a_registry_that_is_away_is_a_dependency_error(tmp_path: Path) -> None:
    registry = open_registry(Settings(MLFLOW_TRACKING_URI="http://127.0.0.1:9", state_dir=tmp_path))
    for call in (
        lambda: registry.register("cells", "0", "runs:/0/model", {}),
        lambda: registry.resolve("cells", "champion"),
        lambda: registry.set_alias("cells", "champion", 1),
        lambda: registry.delete_version("cells", 1),
        registry.versions,
    ):
        with pytest.raises(DependencyError, match="127.0.0.1:9"):
            call()


def test_a_model_logged_while_the_server_was_away_arrives_later(
    stoppable_mlflow: MlflowServer, tmp_path: Path, keras_file: Path, model_name: str
) -> None:
    settings = Settings(MLFLOW_TRACKING_URI=stoppable_mlflow.uri, state_dir=tmp_path)
    run = open_tracker(settings).start_run(MlflowConfig(exp_name="away"), "run")
    stoppable_mlflow.kill()
    started = time.perf_counter()
    uri = run.log_model(keras_file, (8, 8), CLASSES)
    assert time.perf_counter() - started < 10
    assert run.unsent > 0
    stoppable_mlflow.start()
    assert run.flush()
    assert open_registry(settings).register(model_name, run.run_id, uri, {}).version == 1
    run.close()
