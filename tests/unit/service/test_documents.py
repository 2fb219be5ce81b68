"""The written reference names every code and every setting."""

from __future__ import annotations

from pathlib import Path

from onsight.settings import Settings
from services.dl_service.problems import INTERNAL, INVALID, PROBLEMS
from services.dl_service.settings import ServiceSettings


def test_api_page_names_every_code_with_its_status(repository: Path) -> None:
    rows = [line for line in (repository / "docs" / "api.md").read_text().splitlines() if line.startswith("| ")]

    for problem in (*PROBLEMS.values(), INTERNAL, INVALID):
        assert any(f"`{problem.code}`" in row and str(problem.status) in row for row in rows), problem.code


def test_service_page_names_every_setting(repository: Path) -> None:
    page = (repository / "services" / "dl_service" / "README.md").read_text()

    for name, field in ServiceSettings.model_fields.items():
        if name not in Settings.model_fields:
            assert f"`{field.validation_alias or 'ONSIGHT_' + name.upper()}`" in page, name
