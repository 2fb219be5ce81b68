"""A real Prometheus server from Debian's package, that scrapes what a test names."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.servers.dl_service import free_port, wait_until


class PrometheusServer:
    """One Prometheus that asks its targets every second."""

    def __init__(self, program: str, folder: Path, rules: list[Path], targets: dict[str, str]) -> None:
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        self._log_path = folder / "prometheus.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._is_ready, 60)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now; an expression that is wrong fails."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{answer['error']}\n{expression}"
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    def close(self) -> None:
        """Ends it."""
        self._client.close()
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log_path.read_text()[-3000:]
        try:
            return self._client.get("/-/ready").is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="session")
def make_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PrometheusServer]]:
    """Makes servers; skips where Prometheus is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed: apt-get install prometheus")
    made: list[PrometheusServer] = []

    def make(rules: list[Path], **targets: str) -> PrometheusServer:
        made.append(PrometheusServer(program, tmp_path_factory.mktemp("prometheus"), rules, targets))
        return made[-1]

    yield make
    for server in made:
        server.close()
