"""What goes wrong, with its message and exit code; nothing half-written stays behind."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from onsight.registry import open_registry
from onsight.settings import Settings
from tests.integration.flows.conftest import WriteConfig, run_command


def assert_nothing_published(settings: Settings) -> None:
    storage = Path(settings.central_storage_url)
    assert [path for path in storage.rglob("*") if path.is_file()] == []
    if (settings.state_dir / "mlflow.db").exists():
        assert open_registry(settings).resolve("plankton", "1") is None


def slow(*values: object) -> object:
    """A case of `make test-slow`: half a minute each."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"train.hparams.epoch": 3}, 2, "train.hparams.epoch: unknown key, did you mean epochs?"),
        ({"train.hparams.epochs": "many"}, 2, "train.hparams.epochs: Input should be a valid integer"),
        slow({"dataset.dvc_tag": "v9.9.9"}, 3, "v9.9.9"),
        slow(
            {"train.augmentation": [{"name": "Fliplr", "args": {"x": 1}}]},
            2,
            "train.augmentation.0: Fliplr does not take",
        ),
        slow({"dataset.ds_name": "nothing"}, 3, "nothing"),
        slow({"model.weights": "/nowhere/network.keras"}, 9, "there is no file /nowhere/network.keras"),
        slow({"model.classes": ["a", "b"]}, 4, "label_set_mismatch"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_train_flow_when_the_config_does_not_fit_then_says_so(
    settings: Settings,
    write_config: WriteConfig,
    changes: dict[str, object],
    code: int,
    message: str,
) -> None:
    failed = run_command(write_config("train", **changes))
    assert failed.code == code, failed.err
    assert message in failed.err
    assert "Traceback" not in failed.err
    assert_nothing_published(settings)
    if code == 2 and "augmentation" not in str(changes):
        assert not settings.state_dir.exists()


@pytest.mark.slow
def test_train_flow_when_an_image_is_corrupt_then_names_it(
    settings: Settings,
    write_config: WriteConfig,
    plankton_dataset: Path,
    tmp_path: Path,
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(plankton_dataset, root, symlinks=True)
    image = next((root / "plankton/images/test").glob("*/*.jpg"))
    content = image.read_bytes()
    image.unlink()
    image.write_bytes(content[: len(content) // 3])
    changes = {"dataset.ds_root": str(root), "dataset.dvc_checkout": False}
    failed = run_command(write_config("train", **changes))
    assert failed.code == 4, failed.err
    assert "unreadable_images" in failed.err
    assert image.name in failed.err
    assert_nothing_published(settings)


@pytest.mark.slow
def test_train_flow_when_the_working_copy_has_changes_then_refuses_and_keeps_them(
    settings: Settings,
    write_config: WriteConfig,
    plankton_dataset: Path,
    tmp_path: Path,
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(plankton_dataset, root, symlinks=True)
    metadata = root / "plankton/metadata.yml"
    metadata.write_text(metadata.read_text() + "note: mine\n")
    failed = run_command(write_config("train", **{"dataset.ds_root": str(root)}))
    assert failed.code == 3, failed.err
    assert "discard_changes" in failed.err
    assert metadata.read_text().endswith("note: mine\n")


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "PREFECT_API_URL"])
def test_train_flow_when_a_server_is_down_then_says_which(
    settings: Settings,
    write_config: WriteConfig,
    free_port: int,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port}")
    failed = run_command(write_config("train"))
    assert failed.code == 6, failed.err
    assert variable in failed.err
    assert str(free_port) in failed.err
    assert_nothing_published(settings)


@pytest.mark.slow
def test_full_flow_when_the_service_port_is_taken_then_says_so(
    settings: Settings,
    write_config: WriteConfig,
    free_port: int,
) -> None:
    assert run_command(write_config("train")).code == 0
    with closing(socket.create_server(("127.0.0.1", free_port))):
        failed = run_command(write_config("deploy", **{"deploy.version": "challenger"}))
    assert failed.code == 6, failed.err
    assert str(free_port) in failed.err


@pytest.mark.slow
def test_train_flow_when_storage_is_full_then_takes_everything_back(
    settings: Settings,
    write_config: WriteConfig,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONSIGHT_CENTRAL_STORAGE_URL", str(small_disk))
    failed = run_command(write_config("train"))
    assert failed.code == 7, failed.err
    assert "No space left on device" in failed.err
    assert_nothing_published(Settings())


@pytest.mark.slow
def test_train_flow_when_storage_is_read_only_then_stops_before_training(
    settings: Settings,
    write_config: WriteConfig,
    small_disk: Path,
    make_read_only: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_read_only()
    monkeypatch.setenv("ONSIGHT_CENTRAL_STORAGE_URL", str(small_disk))
    failed = run_command(write_config("train"))
    assert failed.code == 7, failed.err
    assert "Read-only file system" in failed.err
    assert not (settings.state_dir / "mlflow.db").exists()


def test_plan_prints_and_writes_nothing(
    settings: Settings,
    write_config: WriteConfig,
) -> None:
    printed = run_command(write_config("full"), "--plan").out
    for expected in ("registry and storage", "champion   none yet", "replaces   nothing", "nothing was run"):
        assert expected in printed
    assert not settings.state_dir.exists()
    assert not Path(settings.central_storage_url).exists()


def test_help_loads_no_heavy_library(repository: Path) -> None:
    code = "import sys, run_flow\ntry: run_flow.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert "exit codes: 0 done" in done.stdout
    loaded = set(done.stdout.split())
    assert not loaded & {"tensorflow", "prefect", "mlflow", "numpy", "pydantic", "rich"}
