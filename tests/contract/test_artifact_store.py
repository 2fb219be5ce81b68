"""What every artifact store promises, over a local folder and over a real S3 server."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onsight.errors import BundleExistsError, StorageError
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "local":
        return open_store(Settings(central_storage_url=str(tmp_path / "central")))
    server = request.getfixturevalue("s3_credentials")
    url = request.getfixturevalue("s3_url")
    return open_store(Settings(central_storage_url=url, s3_endpoint_url=server.endpoint_url))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file and a file in a folder below."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "model.onnx").write_bytes(b"graph")
    (source / "deep" / "detector.json").write_bytes(b"{}")
    return source


def test_put_bytes_then_read_bytes_gives_them_back(store: ArtifactStore) -> None:
    store.put_bytes("models/plankton-v1.yaml", b"name: plankton")

    assert store.read_bytes("models/plankton-v1.yaml") == b"name: plankton"
    assert store.exists("models/plankton-v1.yaml")
    assert store.list("models") == ["models/plankton-v1.yaml"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=2000), name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True))
def test_put_bytes_of_any_content_gives_it_back(store: ArtifactStore, content: bytes, name: str) -> None:
    store.delete(f"any/{name}")
    store.put_bytes(f"any/{name}", content)

    assert store.read_bytes(f"any/{name}") == content


@pytest.mark.parametrize("second", [b"first", b"second"], ids=["same", "other"])
def test_put_bytes_when_taken_refuses_and_keeps_the_first(store: ArtifactStore, second: bytes) -> None:
    store.put_bytes("a/b", b"first")

    with pytest.raises(BundleExistsError, match="already holds a/b"):
        store.put_bytes("a/b", second)

    assert store.read_bytes("a/b") == b"first"


def test_put_bytes_by_many_at_once_lets_one_win(store: ArtifactStore) -> None:
    start, won, lost = threading.Barrier(4), [], []

    def put(content: bytes) -> None:
        start.wait()
        try:
            store.put_bytes("races/prize", content)
        except BundleExistsError:
            lost.append(content)
        else:
            won.append(content)

    threads = [threading.Thread(target=put, args=(b"%d" % index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert len(lost) == 3
    assert store.read_bytes("races/prize") == won[0]


def test_publish_directory_then_fetch_directory_gives_the_files(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    store.publish_directory(folder, "models/plankton-v1")
    fetched = store.fetch_directory("models/plankton-v1", tmp_path / "cache")

    assert store.list("models") == ["models/plankton-v1/deep/detector.json", "models/plankton-v1/model.onnx"]
    assert (fetched / "model.onnx").read_bytes() == b"graph"
    assert (fetched / "deep" / "detector.json").read_bytes() == b"{}"
    assert store.read_bytes("models/plankton-v1/model.onnx") == b"graph"


def test_fetch_directory_twice_gives_the_stored_files_again(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    store.publish_directory(folder, "models/plankton-v1")
    store.fetch_directory("models/plankton-v1", tmp_path / "cache")

    fetched = store.fetch_directory("models/plankton-v1", tmp_path / "cache")

    assert sorted(path.name for path in fetched.rglob("*")) == ["deep", "detector.json", "model.onnx"]


def test_publish_directory_when_taken_refuses_and_keeps_the_first(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    store.publish_directory(folder, "models/plankton-v1")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.onnx").write_bytes(b"another")

    with pytest.raises(BundleExistsError, match="already holds models/plankton-v1"):
        store.publish_directory(other, "models/plankton-v1")

    assert store.read_bytes("models/plankton-v1/model.onnx") == b"graph"


def test_list_leaves_out_a_prefix_that_only_begins_alike(store: ArtifactStore) -> None:
    store.put_bytes("models/plankton-v1/a", b"")
    store.put_bytes("models/plankton-v10/a", b"")

    assert store.list("models/plankton-v1") == ["models/plankton-v1/a"]
    assert store.exists("models/plankton-v1")
    assert not store.exists("models/plankton-v")


def test_list_of_nothing_is_empty(store: ArtifactStore) -> None:
    assert store.list("models") == []
    assert not store.exists("models")


def test_read_bytes_of_nothing_names_the_key(store: ArtifactStore) -> None:
    with pytest.raises(StorageError, match="has no models/missing"):
        store.read_bytes("models/missing")


def test_fetch_directory_of_nothing_names_the_prefix(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="has no models/missing"):
        store.fetch_directory("models/missing", tmp_path / "cache")


def test_size_bytes_counts_an_object_and_what_lies_below_a_prefix(store: ArtifactStore, folder: Path) -> None:
    store.publish_directory(folder, "models/plankton-v1")
    store.put_bytes("models/plankton-v1.yaml", b"name: plankton")
    store.put_bytes("models/plankton-v10.yaml", b"another")

    assert store.size_bytes("models/plankton-v1") == len(b"graph") + len(b"{}")
    assert store.size_bytes("models/plankton-v1.yaml") == len(b"name: plankton")
    assert store.size_bytes("nothing/here") == 0


def test_delete_takes_back_what_was_written_and_nothing_else(store: ArtifactStore, folder: Path) -> None:
    store.publish_directory(folder, "models/plankton-v1")
    store.put_bytes("models/plankton-v1.yaml", b"")
    store.put_bytes("models/plankton-v10.yaml", b"")

    store.delete("models/plankton-v1")
    store.delete("models/plankton-v1.yaml")
    store.delete("models/never-was")

    assert store.list("models") == ["models/plankton-v10.yaml"]


def test_publish_directory_after_delete_is_as_if_nothing_had_been(store: ArtifactStore, folder: Path) -> None:
    store.publish_directory(folder, "models/plankton-v1")

    store.delete("models/plankton-v1")

    assert not store.exists("models/plankton-v1")
    assert store.list("models") == []
    store.publish_directory(folder, "models/plankton-v1")
    assert store.read_bytes("models/plankton-v1/model.onnx") == b"graph"


def test_check_writable_leaves_nothing(store: ArtifactStore) -> None:
    store.put_bytes("models/a", b"")

    store.check_writable()

    assert store.list("models") == ["models/a"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../outside",
        "a/../../b",
        "a//b",
        "a/",
        ".hidden",
        "a/.staging",
        "a\\b",
        "a\nb",
        "a b",
        "ü",
        "a/" * 500 + "a",
    ],
)
def test_every_call_refuses_a_key_that_could_leave_the_storage(
    store: ArtifactStore, folder: Path, tmp_path: Path, key: str
) -> None:
    calls = [
        lambda: store.put_bytes(key, b""),
        lambda: store.publish_directory(folder, key),
        lambda: store.read_bytes(key),
        lambda: store.fetch_directory(key, tmp_path / "cache"),
        lambda: store.list(key),
        lambda: store.exists(key),
        lambda: store.delete(key),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="is no storage key"):
            call()
