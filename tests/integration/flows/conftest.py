"""A place of its own for each test, a small data set of real photographs, and configs that train on it in seconds."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from onsight.datasets import ImportRequest, import_dataset
from onsight.deployment import stop_local_service
from onsight.settings import Settings
from tests.conftest import REPOSITORY


@pytest.fixture(scope="session")
def plankton_dataset(plankton_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root that holds the data set `plankton` at v1.0.0; tests that change it make a copy."""
    root = tmp_path_factory.mktemp("datasets")
    import_dataset(ImportRequest(plankton_folder, "plankton", root, split=(0.5, 0.25, 0.25)))
    return root


@pytest.fixture
def settings(tmp_path: Path, prefect_api_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a fresh place; a service that a flow starts there is stopped at the end."""
    monkeypatch.setenv("ONSIGHT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ONSIGHT_CENTRAL_STORAGE_URL", str(tmp_path / "storage"))
    monkeypatch.setenv("PREFECT_API_URL", prefect_api_url)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    for name in ("MLFLOW_TRACKING_URI", "ONSIGHT_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    place = Settings()
    yield place
    stop_local_service(place)


@dataclass(frozen=True)
class Outcome:
    """What a run of the command gave."""

    code: int
    out: str
    err: str


def run_command(config: Path, *arguments: str) -> Outcome:
    """Run `run_flow.py` as a person does: a process of its own, so that what it loads and logs stays its own."""
    command = [sys.executable, "run_flow.py", "--config", str(config), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


WriteConfig = Callable[..., Path]


@pytest.fixture
def write_config(tmp_path: Path, plankton_dataset: Path, free_port: int) -> WriteConfig:
    """Write a config for the small data set: `write_config("full", **{"train.hparams.epochs": 2})`."""
    classes = sorted(path.name for path in (plankton_dataset / "plankton/images/train").iterdir())
    sections: dict[str, dict[str, Any]] = {
        "model": {
            "model_name": "plankton",
            "input_size": {"w": 32, "h": 32},
            "classes": classes,
            "architecture": "small_cnn",
            "drift_detection": {"reference_data_n_sample": 50},
        },
        "dataset": {"ds_root": str(plankton_dataset), "ds_name": "plankton", "dvc_tag": "v1.0.0"},
        "validation": {"deepchecks_suite": "off"},
        "train": {"hparams": {"epochs": 1, "batch_size": 16}, "mlflow": {"exp_name": "plankton"}},
        "evaluate": {"bootstrap_samples": 200, "worst_n": 4, "agreement": {"n_images": 32}},
        "deploy": {"service_url": f"http://127.0.0.1:{free_port}"},
    }
    wanted = {
        "full": list(sections),
        "train": [name for name in sections if name != "deploy"],
        "eval": ["model", "dataset", "evaluate"],
        "deploy": ["model", "deploy"],
        "retrain": list(sections),
        "retention": [],
        "review": [],
    }

    def write(flow: str, **changes: object) -> Path:
        raw: dict[str, Any] = {"flow_module": f"flows.{flow}_flow"}
        raw |= {name: yaml.safe_load(yaml.safe_dump(sections[name])) for name in wanted[flow]}
        for key_path, value in changes.items():
            *parents, key = key_path.split(".")
            section = raw
            for parent in parents:
                section = section.setdefault(parent, {})
            section[key] = value
        path = tmp_path / f"{flow}.yaml"
        path.write_text(yaml.safe_dump(raw))
        return path

    return write
