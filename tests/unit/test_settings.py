"""Settings that are files, so that no secret stands in an environment variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from onsight.settings import Settings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONSIGHT_SERVICE_API_KEY", "ONSIGHT_SECRETS_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def test_a_setting_is_read_from_a_file_of_the_secrets_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onsight_service_api_key").write_text("from-a-file\n")
    (tmp_path / "mlflow_tracking_uri").write_text("http://mlflow:5000")
    monkeypatch.setenv("ONSIGHT_SECRETS_DIR", str(tmp_path))

    settings = Settings()

    assert settings.service_api_key.get_secret_value() == "from-a-file"
    assert settings.tracking_uri == "http://mlflow:5000"
    assert "from-a-file" not in repr(settings)


def test_a_variable_goes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onsight_service_api_key").write_text("from-a-file")
    monkeypatch.setenv("ONSIGHT_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("ONSIGHT_SERVICE_API_KEY", "from-a-variable")

    assert Settings().service_api_key.get_secret_value() == "from-a-variable"


def test_without_a_secrets_folder_nothing_is_read() -> None:
    assert Settings().service_api_key.get_secret_value() == ""


def test_the_image_archive_is_dl_services_unless_another_folder_is_named(tmp_path: Path) -> None:
    assert Settings(state_dir=tmp_path).image_archive_dir == tmp_path / "dl_service" / "images"
    assert Settings(state_dir=tmp_path, archive_dir=tmp_path / "kept").image_archive_dir == tmp_path / "kept"
