"""``services/backup.sh`` without containers: what it packs, while others write there."""

from __future__ import annotations

import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# What runs in a container runs here, below a folder that stands for the container's root.
_COMPOSE = """shift 3
[ "$1" = sh ] || { echo "a dump"; exit; }
pack=$3 folder=$ROOT$5
shift 5
exec sh -c "$pack" pack "$folder" "$@"
"""
_IMAGES = "var/lib/onsight/dl_service/images"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    for below in ("central_storage/models", "var/lib/mlflow/artifacts", "var/lib/onsight/dl_service"):
        (folder / below).mkdir(parents=True)
    return folder


@pytest.fixture
def back_up(
    repository: Path, root: Path, tmp_path: Path, make_program: Callable[[str, str], Path]
) -> Callable[[], subprocess.CompletedProcess[str]]:
    def run() -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"COMPOSE": str(make_program("compose", _COMPOSE)), "ROOT": f"{root}/"}
        command = ["sh", str(repository / "services/backup.sh"), str(tmp_path / "backup")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_backup_when_images_come_and_go_then_holds_those_that_stay(
    root: Path, tmp_path: Path, back_up: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    shard = root / _IMAGES / "ab"
    shard.mkdir(parents=True)
    stay = {f"ab/{number}" for number in range(2000)}
    for name in stay:
        (shard.parent / name).write_bytes(bytes(2000))
    with _writing(shard):
        done = back_up()

    assert done.returncode == 0, done.stderr
    packed = set(_names(tmp_path / "backup" / "images.tar"))
    assert stay <= packed
    assert not [name for name in packed if ".new" in name or ".kept" in name]
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=tmp_path / "backup", check=True)


def test_backup_when_a_bundle_is_being_published_then_leaves_it_out(
    root: Path, tmp_path: Path, back_up: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    (root / "central_storage/.staging").mkdir()
    for name in (
        "central_storage/.staging/half",
        "central_storage/models/cells-v1.yaml",
        "var/lib/mlflow/artifacts/a.new",
    ):
        (root / name).write_text("content")

    assert back_up().returncode == 0
    assert _names(tmp_path / "backup" / "central_storage.tar") == ["models", "models/cells-v1.yaml"]
    assert _names(tmp_path / "backup" / "mlflow_artifacts.tar") == ["artifacts", "artifacts/a.new"]


def test_backup_when_no_image_was_uploaded_yet_then_holds_none(
    tmp_path: Path, back_up: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    done = back_up()

    assert done.returncode == 0, done.stderr
    assert _names(tmp_path / "backup" / "images.tar") == []


def test_backup_when_a_folder_cannot_be_read_then_fails(
    root: Path, tmp_path: Path, back_up: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    (root / _IMAGES).write_text("no folder")

    assert back_up().returncode != 0
    assert not (tmp_path / "backup" / "SHA256SUMS").exists()


def _names(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        return sorted(opened.getnames())


@contextmanager
def _writing(shard: Path) -> Iterator[None]:
    """Writes images, replaces the list of those to keep, and removes images, as the archive and its clean-up do."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            fresh, image, kept = shard / "1.new", shard / "image", shard.parent / ".kept.1"
            fresh.write_bytes(bytes(2000))
            os.link(fresh, image)
            fresh.unlink()
            image.unlink()
            kept.write_text("")
            kept.replace(shard.parent / "kept")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()
