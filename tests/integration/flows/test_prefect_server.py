"""Prefect's temporary server: it answers while the flow runs, and never outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.prefect_server import prefect_server, refuse_absent_server, wait_for_prefect
from onsight.errors import DependencyError, StorageError
from onsight.settings import Settings
from tests.servers.dl_service import wait_until

_HOLD = """
import os, time
from flows.environment import prepare_environment
from flows.prefect_server import prefect_server, wait_for_prefect
from onsight.settings import Settings
with prefect_server(prepare_environment()):
    wait_for_prefect(Settings())
    print(os.environ["PREFECT_API_URL"], flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONSIGHT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.mark.slow
def test_prefect_server_when_the_flow_is_killed_then_ends_too() -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder, holder.stdout as lines:
        port = int(lines.readline().removesuffix("/api\n").rsplit(":", 1)[1])
        assert _listens(port)
        os.kill(holder.pid, signal.SIGKILL)
    wait_until(lambda: not _listens(port))


@pytest.mark.slow
def test_prefect_server_when_the_block_ends_then_the_address_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    with prefect_server(Settings()):
        wait_for_prefect(Settings())
        url = os.environ["PREFECT_API_URL"]
    assert "PREFECT_API_URL" not in os.environ
    assert not _listens(int(url.removesuffix("/api").rsplit(":", 1)[1]))


def test_prefect_server_when_it_cannot_start_then_its_log_is_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "no number")
    with prefect_server(Settings()), pytest.raises(DependencyError, match="no number"):
        wait_for_prefect(Settings())


def test_prefect_server_when_the_state_folder_is_a_file_then_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StorageError, match="cannot be written"), prefect_server(Settings()):
        pass


def test_refuse_absent_server_when_the_named_one_is_down_then_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(DependencyError, match="127.0.0.1:9"), prefect_server(Settings()):
        refuse_absent_server(Settings())


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
