"""Shared fixtures: every module of tests/servers/ starts one real server or brings one real set of images."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = [
    f"tests.servers.{path.stem}"
    for path in sorted((Path(__file__).parent / "servers").glob("*.py"))
    if path.stem != "__init__"
]

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY
