"""The stack as a whole: a flow inside it, a prediction through the door, and what both leave behind.

The tests run in the order they stand in: the last ones stop and start containers.
"""

from __future__ import annotations

import subprocess
import threading

import httpx
import pytest

from tests.stack.conftest import FlowRun, Stack, wait_until

_SECRETS = (
    "deploy_api_key",
    "dl_service_database",
    "jupyter_token",
    "mlflow_database",
    "prefect_database",
    "reader_database",
    "web_api_key",
)


def test_no_container_runs_as_root_or_may_gain_rights(stack: Stack) -> None:
    for container in stack.containers():
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] not in ("", "0", "root", "0:0"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["LogConfig"]["Config"]["max-size"], name


def test_no_secret_is_in_an_environment_a_process_list_or_a_log(stack: Stack) -> None:
    secrets = [stack.secret(name).rsplit(":", 1)[-1] for name in _SECRETS]
    shown = [stack.compose("logs", "--no-color")]
    for container in stack.containers():
        shown.append(str(container))
        if container["State"]["Running"]:
            shown.append(_output("docker", "top", container["Id"], "-eo", "pid,args"))
            # The second process is the service, the first is Docker's own init.
            environments = "cat /proc/[0-9]*/environ | tr '\\0' '\\n'"
            shown.append(_output("docker", "exec", container["Id"], "sh", "-c", environments))

    for secret in secrets:
        assert len(secret) > 40
        assert not any(secret in text for text in shown)


def test_only_the_doors_are_published_and_on_loopback(stack: Stack) -> None:
    bound = {
        binding["HostIp"]: port
        for container in stack.containers()
        for ports in [container["NetworkSettings"]["Ports"]]
        for port, bindings in ports.items()
        for binding in bindings or []
    }
    assert set(bound) == {"127.0.0.1"}


def test_a_full_flow_runs_inside_the_stack(stack: Stack, flow_run: FlowRun) -> None:
    print(f"the flow took {flow_run.seconds:.0f} s\n{flow_run.output}")
    with stack.client() as door:
        assert door.get("/readyz").status_code == 200


@pytest.mark.usefixtures("flow_run")
def test_a_prediction_through_the_door_is_a_row_in_postgres(
    stack: Stack, client: httpx.Client, photograph: bytes
) -> None:
    response = client.post("/predict", content=photograph, headers={"X-Request-ID": "stack-test"})

    assert response.status_code == 200
    assert response.headers["X-Request-ID"] == "stack-test"
    query = f"SELECT top_class FROM predictions WHERE prediction_id = '{response.json()['prediction_id']}'"
    wait_until(lambda: stack.rows(query) == response.json()["top_class"])


@pytest.mark.usefixtures("flow_run")
def test_the_run_is_in_mlflow_with_its_artifacts_behind_the_server(stack: Stack) -> None:
    with httpx.Client(base_url=f"{stack.mlflow_url}/api/2.0/mlflow", trust_env=False, timeout=30) as mlflow:
        experiment = mlflow.get("/experiments/get-by-name", params={"experiment_name": "elpv"}).json()["experiment"]
        found = mlflow.post("/runs/search", json={"experiment_ids": [experiment["experiment_id"]]}).json()["runs"]
        assert found[0]["info"]["status"] == "FINISHED"
        assert found[0]["info"]["artifact_uri"].startswith("mlflow-artifacts:")
        files = mlflow.get("/artifacts/list", params={"run_id": found[0]["info"]["run_id"]}).json()["files"]
        assert files
    assert int(stack.rows("SELECT count(*) FROM runs", database="mlflow")) >= 1


@pytest.mark.usefixtures("flow_run")
def test_the_flow_run_and_the_monitor_are_in_prefect(stack: Stack) -> None:
    with httpx.Client(base_url=stack.prefect_url, trust_env=False, timeout=30) as prefect:
        states = {run["state_type"] for run in prefect.post("/flow_runs/filter", json={}).json()}
        monitors = prefect.post("/deployments/filter", json={}).json()
    assert "COMPLETED" in states
    assert [monitor["name"] for monitor in monitors] == ["drift-monitor"]


@pytest.mark.usefixtures("flow_run")
def test_the_worker_runs_the_drift_monitor(stack: Stack, client: httpx.Client, photograph: bytes) -> None:
    for _ in range(40):
        client.post("/predict", content=photograph).raise_for_status()
    with httpx.Client(base_url=stack.prefect_url, trust_env=False, timeout=30) as prefect:
        monitor = prefect.post("/deployments/filter", json={}).json()[0]
        run = prefect.post(f"/deployments/{monitor['id']}/create_flow_run", json={}).json()

        def state() -> str:
            return str(prefect.get(f"/flow_runs/{run['id']}").json()["state_type"])

        wait_until(lambda: state() in ("COMPLETED", "FAILED", "CRASHED"), timeout_s=300)
        assert state() == "COMPLETED"


def test_the_door_asks_for_keys_and_keeps_metrics_inside(stack: Stack, photograph: bytes) -> None:
    with stack.client() as door, stack.client("web_api_key") as page:
        assert door.post("/predict", content=photograph).status_code == 401
        assert page.put("/update_model/none-v1.yaml").status_code == 403
        assert door.get("/metrics").status_code == 404


@pytest.mark.usefixtures("flow_run")
def test_the_web_page_predicts_without_a_key_of_the_visitor(stack: Stack, photograph: bytes) -> None:
    with stack.client() as visitor:
        page = visitor.get("/", follow_redirects=True)
        answer = visitor.post("/web/predict?explain=heatmap", content=photograph)
        refused = visitor.put("/web/update_model/none-v1.yaml")

    assert page.headers["content-type"].startswith("text/html")
    assert answer.json()["raw_hm_img"]
    assert refused.status_code == 404


def test_a_body_that_is_too_large_gets_a_problem_document(stack: Stack) -> None:
    with stack.client("web_api_key") as door:
        response = door.post("/predict", content=b"x" * (110 * 1024 * 1024))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.usefixtures("flow_run")
def test_scaled_and_recreated_replicas_fail_no_request(stack: Stack, photograph: bytes) -> None:
    answers: list[str] = []
    stop = threading.Event()

    def send() -> None:
        with stack.client("web_api_key") as door:
            while not stop.is_set():
                try:
                    response = door.post("/predict", content=photograph)
                    answers.append(str(response.status_code))
                except httpx.TransportError as error:
                    answers.append(type(error).__name__)

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    try:
        stack.compose("up", "-d", "--no-recreate", "--scale", "dl_service=3")
        stack.wait()
        wait_until(lambda: _replicas(stack) == 3)
        stack.compose("up", "-d", "--no-recreate", "--scale", "dl_service=1")
        stack.compose("kill", "-s", "HUP", "nginx")
    finally:
        stop.set()
        for sender in senders:
            sender.join()
    failed = [answer for answer in answers if answer != "200"]
    print(f"{len(answers)} requests, not answered with 200: {failed}")
    assert len(answers) > 10
    assert failed == []


@pytest.mark.usefixtures("flow_run")
def test_everything_is_there_after_down_and_up(stack: Stack, client: httpx.Client, photograph: bytes) -> None:
    before = client.post("/predict", content=photograph).json()
    query = f"SELECT count(*) FROM predictions WHERE prediction_id = '{before['prediction_id']}'"
    stack.compose("down")
    stack.compose("up", "-d")
    stack.wait()

    after = client.post("/predict", content=photograph).json()
    assert after["model_version"] == before["model_version"]
    assert stack.rows(query) == "1"
    assert int(stack.rows("SELECT count(*) FROM runs", database="mlflow")) >= 1
    assert int(stack.rows("SELECT count(*) FROM flow_run", database="prefect")) >= 1


def _output(*command: str) -> str:
    # A process may end while it is looked at.
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _replicas(stack: Stack) -> int:
    with stack.client("deploy_api_key") as door:
        workers = door.get("/models/current").json()["workers"]
    return len({worker["replica"] for worker in workers if worker["bundle_name"]})
