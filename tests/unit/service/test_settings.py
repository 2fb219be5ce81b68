"""The service's settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onsight.errors import ConfigError
from services.dl_service.settings import ServiceSettings


def test_settings_default_to_what_the_dotenv_file_says(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DL_SERVICE_HOST", "DL_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    lines = [line for line in (repository / ".env").read_text().splitlines() if line and not line.startswith("#")]
    written = dict(line.split("=", 1) for line in lines)

    settings = ServiceSettings()

    assert (settings.host, str(settings.port)) == (written["DL_SERVICE_HOST"], written["DL_SERVICE_PORT"])


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL_SERVICE_PORT", "4300")
    monkeypatch.setenv("ONSIGHT_MAX_BODY_BYTES", "2048")
    monkeypatch.setenv("ONSIGHT_INFERENCE_THREADS", "3")

    settings = ServiceSettings()

    assert (settings.port, settings.image_limits.max_bytes, settings.batch_limits.threads) == (4300, 2048, 3)


def test_check_of_a_provider_that_is_not_installed_names_it() -> None:
    ServiceSettings().check()
    with pytest.raises(ConfigError, match="NoSuchExecutionProvider"):
        ServiceSettings(execution_providers="CPUExecutionProvider, NoSuchExecutionProvider").check()


def test_supervisor_imports_nothing_that_only_workers_need() -> None:
    heavy = "{'sqlalchemy', 'onnxruntime', 'numpy', 'fastapi'}"
    code = f"import sys, services.dl_service.__main__; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
