"""A full flow inside the stack, and what it leaves behind."""

from __future__ import annotations

import httpx
import pytest

from tests.servers.stack import FlowRun, Stack, run_deployment


def test_a_full_flow_runs_inside_the_stack(stack: Stack, flow_run: FlowRun) -> None:
    print(f"the flow took {flow_run.seconds:.0f} s\n{flow_run.output}")
    with stack.client() as visitor:
        assert visitor.get("/readyz").status_code == 200


@pytest.mark.usefixtures("flow_run")
def test_the_run_is_in_mlflow_with_its_artifacts_behind_the_server(stack: Stack) -> None:
    with httpx.Client(base_url=f"{stack.door('MLFLOW')}/api/2.0/mlflow", trust_env=False, timeout=30) as mlflow:
        experiment = mlflow.get("/experiments/get-by-name", params={"experiment_name": "elpv"}).json()["experiment"]
        found = mlflow.post("/runs/search", json={"experiment_ids": [experiment["experiment_id"]]}).json()["runs"]
        assert found[0]["info"]["status"] == "FINISHED"
        assert found[0]["info"]["artifact_uri"].startswith("mlflow-artifacts:")
        files = mlflow.get("/artifacts/list", params={"run_id": found[0]["info"]["run_id"]}).json()["files"]
        assert files
    assert int(stack.rows("SELECT count(*) FROM runs", database="mlflow")) >= 1


@pytest.mark.usefixtures("flow_run")
def test_the_flow_run_and_the_monitor_are_in_prefect(stack: Stack) -> None:
    with httpx.Client(base_url=f"{stack.door('PREFECT')}/api", trust_env=False, timeout=30) as prefect:
        states = {run["state_type"] for run in prefect.post("/flow_runs/filter", json={}).json()}
        monitors = prefect.post("/deployments/filter", json={}).json()
    assert "COMPLETED" in states
    assert [monitor["name"] for monitor in monitors] == ["drift-monitor"]


@pytest.mark.usefixtures("flow_run")
def test_the_worker_runs_the_drift_monitor(stack: Stack, door: httpx.Client, photograph: bytes) -> None:
    for _ in range(40):
        door.post("/predict", content=photograph).raise_for_status()
    run_deployment(stack, "drift-monitor/drift-monitor", timeout_s=300)
