"""The command that makes keys of files known: one scope or several, and nothing half understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from onsight.db import list_api_keys, open_database
from services.dl_service.keys import main

KEY = f"onsight_0123456789ab_{'x' * 43}"


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONSIGHT_DATABASE_URL", f"sqlite:///{tmp_path}/p.db")
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


def test_ensure_gives_a_key_every_scope_that_is_named(key_file: Path, tmp_path: Path) -> None:
    assert main(["ensure", f"web_ui=predict,feedback={key_file}"]) == 0

    database = open_database(f"sqlite:///{tmp_path}/p.db")
    (key,) = list_api_keys(database)
    database.close()
    assert (key.name, key.scopes) == ("web_ui", {"predict", "feedback"})


@pytest.mark.parametrize("scopes", ["", "predict,", "predict,all", "predict,predict", "predict feedback"])
def test_ensure_refuses_scopes_that_are_none(key_file: Path, scopes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensure", f"web_ui={scopes}={key_file}"]) == 2

    assert "NAME=SCOPE[,SCOPE]=FILE" in capsys.readouterr().err
