"""The whole flow on real photographs, with real MLflow, Prefect, storage and service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from onsight.bundle import list_bundles, read_metadata
from onsight.db import WindowQuery, open_database, read_window
from onsight.registry import open_registry
from onsight.settings import Settings
from onsight.storage import open_store
from tests.integration.flows.conftest import WriteConfig, run_command


@pytest.mark.slow
def test_full_flow_when_run_twice_then_serves_the_second_and_records_both(
    settings: Settings, write_config: WriteConfig, plankton_images: list[Path], prefect_api_url: str
) -> None:
    config = write_config("full", **{"evaluate.gate.max_regression": 1.0, "evaluate.gate.margin": -1.0})
    done = run_command(config)
    assert done.code == 0, done.err
    first = done.out
    assert "plankton-v1 is in production" in first
    assert "there is no champion to compare with" in first

    # The command that the summary shows works as it stands.
    curl = re.search(r"curl -F \S+ \S+", first)
    assert curl is not None
    answer = json.loads(subprocess.run([*curl[0].split(), "-sS"], capture_output=True, check=True).stdout)
    assert answer["model_version"] == 1
    assert sum(answer["prediction"].values()) == pytest.approx(1, abs=1e-5)

    assert "plankton-v2 is in production" in run_command(config, "--set", "train.hparams.seed=3").out
    url = curl[0].split()[-1].removesuffix("/predict")
    assert httpx.get(f"{url}/models/current").json()["serving"]["bundle_name"] == "plankton-v2"

    store, registry = open_store(settings), open_registry(settings)
    assert list_bundles(store) == ["plankton-v1", "plankton-v2"]
    champion = registry.resolve("plankton", "champion")
    assert champion is not None
    assert champion.version == 2
    records = [json.loads(store.read_bytes(key)) for key in store.list("promotions/plankton")]
    assert [record["version"] for record in records] == [1, 2]
    assert records[1]["replaced"]["version"] == 1

    _check_run(settings, champion.run_id)
    with temporary_settings({PREFECT_API_URL: prefect_api_url}), get_client(sync_client=True) as client:
        variable = client.read_variable_by_name("current_model_metadata_file")
        assert variable is not None
        assert variable.value == "models/plankton-v2.yaml"
        deployment = client.read_deployment_by_name("drift-monitor/drift-monitor")
        assert deployment.work_pool_name == "onsight-monitor"
        assert [schedule.active for schedule in deployment.schedules] == [True]

    _check_monitor(settings, url, plankton_images)


def _check_run(settings: Settings, run_id: str) -> None:
    client = MlflowClient(settings.mlflow_tracking_uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["dataset.tag"] == "v1.0.0"
    assert run.data.tags["onsight.promotion_gate"] == "passed"
    assert 0 <= run.data.metrics["test_accuracy_low"] <= run.data.metrics["test_accuracy"] <= 1
    assert len(client.get_metric_history(run_id, "val_loss")) == 1
    assert run.inputs.dataset_inputs
    artifacts = {artifact.path for artifact in client.list_artifacts(run_id)}
    assert {"evaluation", "validation", "plots"} <= artifacts


def _check_monitor(settings: Settings, url: str, images: list[Path]) -> None:
    for image in images[:25]:
        assert httpx.post(f"{url}/predict", files={"file": image.read_bytes()}).is_success
    database = open_database(settings.predictions_database_url)
    deadline_s = time.monotonic() + 60
    while len(read_window(database, WindowQuery("plankton", 2, 100, 100))) < 25:
        assert time.monotonic() < deadline_s, "the service did not ship its log"
    database.close()
    # Exactly those 25: the golden images of the deployment are no traffic.
    printed = run_command(Path("configs/monitor_flow_config.yaml"), "--set", "monitor.window.burst_s=0").out
    assert len(re.findall(r"(?:uae|bbsd): .*\b25 predictions against 50 references", printed)) == 2


@pytest.mark.slow
def test_full_flow_when_the_gate_refuses_then_production_stays(settings: Settings, write_config: WriteConfig) -> None:
    config = write_config("full", **{"evaluate.gate.minimum": {"accuracy": 1.0}})
    refused = run_command(config)
    assert refused.code == 5
    assert "did not pass the promotion gate" in refused.err
    registry = open_registry(settings)
    assert registry.resolve("plankton", "champion") is None
    assert registry.resolve("plankton", "challenger") is not None
    assert not open_store(settings).list("promotions")
    assert not (settings.state_dir / "dl_service.pid").exists()


@pytest.mark.slow
def test_train_then_evaluate_then_deploy_by_hand(settings: Settings, write_config: WriteConfig) -> None:
    assert "plankton-v1 is registered as challenger" in run_command(write_config("train")).out
    assert "plankton-v1 on plankton v1.0.0" in run_command(write_config("eval")).out
    refused = run_command(write_config("deploy"))
    assert refused.code == 6
    assert "the registry has no version 'champion' of model plankton" in refused.err
    deployed = run_command(write_config("deploy", **{"deploy.version": "challenger"}))
    assert "plankton-v1 is in production" in deployed.out
    metadata = read_metadata(open_store(settings), "plankton-v1")
    assert metadata.dataset_tag == "v1.0.0"
    assert metadata.reference_rows == 50


@pytest.mark.slow
def test_int8_variant_when_enabled_then_is_published_and_served_where_it_is_asked_for(
    settings: Settings, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A network of one epoch has no accuracy to lose; its answers are what counts here.
    int8 = {"enabled": True, "calibration_images": 16, "max_accuracy_loss": 1.0}
    monkeypatch.setenv("ONSIGHT_VARIANT", "int8")
    config = write_config(
        "full", **{"model.int8": int8, "evaluate.gate.max_regression": 1.0, "evaluate.gate.margin": -1.0}
    )

    done = run_command(config)

    assert done.code == 0, done.err
    assert "int8 variant published: accuracy" in done.out
    assert read_metadata(open_store(settings), "plankton-v1").variants == ("fp32", "int8")
    (url,) = re.findall(r"Service +(\S+)", done.out)
    assert httpx.get(f"{url}/models/current").json()["serving"]["variant"] == "int8"
    champion = open_registry(settings).resolve("plankton", "champion")
    assert champion is not None
    metrics = MlflowClient(settings.mlflow_tracking_uri).get_run(champion.run_id).data.metrics
    assert {"test_fp32_accuracy", "test_int8_accuracy"} <= set(metrics)
    assert metrics["test_fp32_accuracy"] == pytest.approx(metrics["test_accuracy"])


@pytest.mark.slow
def test_train_flow_when_killed_then_resumes_the_same_run(
    settings: Settings, write_config: WriteConfig, repository: Path
) -> None:
    config = write_config("train", **{"train.hparams.epochs": 40})
    command = [sys.executable, "-u", "run_flow.py", "--config", str(config)]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True, env=os.environ) as killed:
        assert killed.stdout is not None
        assert any("epoch 2/40" in line for line in killed.stdout), "it ended before its second epoch"
        killed.send_signal(signal.SIGKILL)
    client = MlflowClient(settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name("plankton")
    assert experiment is not None
    (before,) = client.search_runs([experiment.experiment_id])
    assert before.info.status == "RUNNING"

    resumed = subprocess.run([*command, "--resume"], cwd=repository, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    (after,) = client.search_runs([experiment.experiment_id])
    assert (after.info.run_id, after.info.status) == (before.info.run_id, "FINISHED")
    history = client.get_metric_history(after.info.run_id, "val_loss")
    assert sorted(point.step for point in history) == list(range(40))
