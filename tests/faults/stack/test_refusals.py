"""What cannot work says so: a wrong password, a port that is taken, a central storage that is full."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.faults.stack.conftest import StackFaults
from tests.servers.dl_service import wait_until
from tests.servers.stack import QUICK


@contextmanager
def changed(faults: StackFaults, path: Path, change: dict[str, object]) -> Iterator[None]:
    """The stack's file with an override."""
    path.write_text(yaml.safe_dump(change))
    files = os.environ.get("COMPOSE_FILE", "docker-compose.yml")
    os.environ["COMPOSE_FILE"] = f"{files}:{path}"
    try:
        yield
    finally:
        os.environ["COMPOSE_FILE"] = files


def test_a_wrong_password_is_told_and_the_right_one_brings_the_service_back(
    stack_faults: StackFaults, tmp_path: Path
) -> None:
    stack = stack_faults.stack
    wrong = tmp_path / "wrong"
    wrong.write_text("*:*:*:mlflow:wrong\n")
    wrong.chmod(0o600)
    os.chown(wrong, int(stack.settings["ONSIGHT_UID"]), int(stack.settings["ONSIGHT_GID"]))
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)

    with stack_faults.load() as load:
        # Without a service Compose 1.29 takes the file for one of its first format.
        override = {"services": {"mlflow": {}}, "secrets": {"mlflow_database": {"file": str(wrong)}}}
        with changed(stack_faults, tmp_path / "wrong.yml", override):
            stack.compose("up", "-d", "--no-deps", "--force-recreate", "mlflow")
            wait_until(lambda: "password authentication failed" in stack.compose("logs", "mlflow"), timeout_s=120)
            assert stack.containers("mlflow")[0]["State"]["Health"]["Status"] != "healthy"
        stack.compose("up", "-d", "--no-deps", "--force-recreate", "mlflow")
        stack.wait()

    counts = stack_faults.conclude("wrong password for mlflow", load)
    assert (counts.broken, counts.refused) == (0, {})
    counts.assert_sound()


def test_a_port_that_is_taken_is_told_and_free_again_it_is_used(stack_faults: StackFaults) -> None:
    stack = stack_faults.stack
    stack.compose("stop", "prometheus")
    stack.compose("rm", "-f", "prometheus")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(stack.settings["PROMETHEUS_PORT"])))
        other.listen()
        refused = stack.run("up", "-d", "--no-deps", "prometheus")
    stack.compose("up", "-d", "--no-deps", "prometheus")
    stack.wait()

    assert refused.returncode != 0
    assert stack.settings["PROMETHEUS_PORT"] in refused.stderr
    assert "already" in refused.stderr


def test_a_full_central_storage_ends_a_flow_with_its_own_code_and_predictions_go_on(
    stack_faults: StackFaults, tmp_path: Path
) -> None:
    stack = stack_faults.stack
    words = [word for change in QUICK for word in ("--set", change)]
    flow = ("python", "run_flow.py", "--config", "configs/full_flow_config.yaml", *words)
    full = {"type": "tmpfs", "device": "tmpfs", "o": "size=3m,mode=1777"}
    override = {
        "services": {"prefect_worker": {"volumes": ["full_storage:/central_storage"]}},
        "volumes": {"full_storage": {"driver_opts": full}},
    }

    with stack_faults.load() as load:
        with changed(stack_faults, tmp_path / "full.yml", override):
            done = stack.run("run", "--rm", "--no-deps", "-T", "prefect_worker", *flow)
        load.wait_for(20)

    assert done.returncode == 7, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "No space left" in done.stdout + done.stderr
    counts = stack_faults.conclude("central storage full during a flow", load, exit_code=done.returncode)
    assert (counts.broken, counts.refused) == (0, {})
    counts.assert_sound()
