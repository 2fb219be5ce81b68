"""How the containers run: rights, secrets, and published ports."""

from __future__ import annotations

import subprocess

from tests.servers.stack import Stack

_SECRETS = (
    "deploy_api_key",
    "dl_service_database",
    "grafana_password",
    "jupyter_token",
    "mlflow_database",
    "pgadmin_password",
    "prefect_database",
    "reader_database",
    "web_api_key",
)
# cAdvisor reads the kernel's accounts as root; pgAdmin's start script writes into its own folder, and its Python asks
# for a capability.
_MAY_BE_ROOT = {"cadvisor"}
_MAY_WRITE = {"pgadmin"}
_MAY_ADD = {"pgadmin": ["NET_BIND_SERVICE"]}


def test_containers_run_without_root_and_without_rights_to_gain(stack: Stack) -> None:
    for container in stack.containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        host = container["HostConfig"]
        assert service in _MAY_BE_ROOT or container["Config"]["User"] not in ("", "0", "root", "0:0"), service
        assert service in _MAY_WRITE or host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert (host["CapAdd"] or []) == _MAY_ADD.get(service, []), service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert not host["Privileged"], service
        assert not any("docker.sock" in mount["Source"] for mount in container["Mounts"]), service
        assert host["Memory"] > 0, service
        assert host["NanoCpus"] > 0, service
        assert host["LogConfig"]["Config"]["max-size"], service
        assert host["RestartPolicy"]["Name"] == ("no" if service == "dl_service_keys" else "unless-stopped"), service


def test_no_secret_is_in_an_environment_a_process_list_or_a_log(stack: Stack) -> None:
    secrets = [stack.secret(name).rsplit(":", 1)[-1] for name in _SECRETS]
    shown = {"logs": stack.compose("logs", "--no-color")}
    for container in stack.containers():
        shown[container["Name"]] = str(container)
        if container["State"]["Running"]:
            shown[f"processes of {container['Name']}"] = _output("docker", "top", container["Id"], "-eo", "pid,args")
            environments = "cat /proc/[0-9]*/environ | tr '\\0' '\\n'"
            shown[f"environments of {container['Name']}"] = _output(
                "docker", "exec", container["Id"], "sh", "-c", environments
            )

    for secret in secrets:
        assert len(secret) > 40
        assert [place for place, text in shown.items() if secret in text] == []


def test_only_the_doors_are_published_and_on_loopback(stack: Stack) -> None:
    bound = {
        (binding["HostIp"], binding["HostPort"])
        for container in stack.containers()
        for ports in [container["NetworkSettings"]["Ports"]]
        for bindings in ports.values()
        for binding in bindings or []
    }
    doors = {"nginx", "mlflow", "prefect", "jupyter", "grafana", "prometheus", "alertmanager", "pgadmin"}
    started = {container["Config"]["Labels"]["com.docker.compose.service"] for container in stack.containers()}
    assert bound == {("127.0.0.1", stack.settings[f"{door.upper()}_PORT"]) for door in doors & started}
    assert doors - started <= stack.gaps


def _output(*command: str) -> str:
    # A process may end while it is looked at.
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
