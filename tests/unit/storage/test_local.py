"""The local store on disks that are full or read-only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from onsight.errors import StorageError
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store

_TOO_MUCH = b"x" * (1024 * 1024)


def store_at(folder: Path) -> ArtifactStore:
    return open_store(Settings(central_storage_url=str(folder)))


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_put_bytes_on_a_full_disk_says_so_and_leaves_nothing(small_disk: Path) -> None:
    store = store_at(small_disk)

    with pytest.raises(StorageError, match=r"cannot be written: No space left on device") as caught:
        store.put_bytes("models/big", _TOO_MUCH)

    assert str(small_disk) in caught.value.message
    assert "free space" in caught.value.hint
    assert files_below(small_disk) == []
    store.put_bytes("models/small", b"fits")


def test_publish_directory_on_a_full_disk_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"fits")
    (source / "b").write_bytes(_TOO_MUCH)

    with pytest.raises(StorageError, match="No space left on device"):
        store_at(small_disk).publish_directory(source, "models/plankton-v1")

    assert files_below(small_disk) == []


def test_every_write_to_a_read_only_disk_says_so(
    small_disk: Path, make_read_only: Callable[[], None], tmp_path: Path
) -> None:
    store = store_at(small_disk)
    store.put_bytes("models/a", b"before")
    make_read_only()

    for write in (
        lambda: store.put_bytes("models/b", b""),
        lambda: store.publish_directory(tmp_path, "models/c"),
        lambda: store.delete("models/a"),
        store.check_writable,
    ):
        with pytest.raises(StorageError, match="Read-only file system"):
            write()

    assert store.read_bytes("models/a") == b"before"


def test_check_writable_of_a_path_through_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageError, match="cannot be written"):
        store_at(tmp_path / "file" / "central").check_writable()


def test_publish_directory_is_seen_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, central = tmp_path / "source", tmp_path / "central"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_bytes(b"content")
    seen = []
    original = Path.read_bytes

    def look_around(path: Path) -> bytes:
        seen.append((central / "models").exists())
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", look_around)
    store_at(central).publish_directory(source, "models/plankton-v1")

    assert seen == [False, False, False]
    assert files_below(central / "models" / "plankton-v1") == ["a", "b", "c"]


def test_read_bytes_of_a_folder_is_a_storage_error(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.put_bytes("models/a/b", b"")

    with pytest.raises(StorageError, match="cannot be read"):
        store.read_bytes("models/a")


def test_open_store_of_another_kind_of_address_is_refused() -> None:
    with pytest.raises(StorageError, match="neither a folder nor an s3:// address"):
        open_store(Settings(central_storage_url="ftp://server/folder"))
