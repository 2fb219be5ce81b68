"""The config reference and the JSON Schema are made from the classes, and `--check` notices when they are stale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "onsight.config", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_reference_when_made_then_names_every_section_and_passes_its_check(tmp_path: Path) -> None:
    page, schema = tmp_path / "config.md", tmp_path / "schema.json"
    assert generate(page, schema).returncode == 0
    text = page.read_text()
    for expected in ("## Hparams", "`reference_data_n_sample`", "| `epochs` | integer (≥ 1, ≤ 10000) | `10` |"):
        assert expected in text
    assert generate(page, schema, "--check").returncode == 0


def test_reference_when_stale_then_the_check_fails_and_says_what_to_do(tmp_path: Path) -> None:
    page, schema = tmp_path / "config.md", tmp_path / "schema.json"
    generate(page, schema)
    page.write_text("old")
    checked = generate(page, schema, "--check")
    assert checked.returncode == 1
    assert "run `make docs`" in checked.stderr
    assert page.read_text() == "old"
