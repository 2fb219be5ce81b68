"""The S3 store when the server refuses or is not there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from onsight.errors import StorageError
from onsight.settings import Settings
from onsight.storage import open_store
from tests.servers.s3 import S3Server


def test_reading_from_a_missing_bucket_is_a_storage_error(s3_credentials: S3Server) -> None:
    store = open_store(
        Settings(central_storage_url="s3://no-such-bucket/a", s3_endpoint_url=s3_credentials.endpoint_url)
    )

    with pytest.raises(StorageError, match="has no models/a"):
        store.read_bytes("models/a")


def test_wrong_credentials_are_a_storage_error_that_names_the_variables(
    s3_url: str, s3_credentials: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = open_store(
        # The server's other name: clients are shared by address and keep the credentials they began with.
        Settings(
            central_storage_url=s3_url, s3_endpoint_url=s3_credentials.endpoint_url.replace("127.0.0.1", "localhost")
        )
    )

    with pytest.raises(StorageError, match="cannot be") as caught:
        store.put_bytes("models/a", b"")

    assert "AWS_" in caught.value.hint


def test_a_server_that_is_not_there_is_a_storage_error(s3_credentials: S3Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = open_store(Settings(central_storage_url="s3://bucket", s3_endpoint_url=url))

        with pytest.raises(StorageError, match="s3://bucket cannot be") as caught:
            store.check_writable()

    assert "ONSIGHT_S3_ENDPOINT_URL" in caught.value.hint


def test_fetch_directory_into_a_cache_that_cannot_be_written_says_so(
    s3_url: str, s3_credentials: S3Server, tmp_path: Path
) -> None:
    store = open_store(Settings(central_storage_url=s3_url, s3_endpoint_url=s3_credentials.endpoint_url))
    store.put_bytes("models/a", b"content")
    (tmp_path / "cache").write_bytes(b"a file, not a folder")

    with pytest.raises(StorageError, match=r"the local copy .*cache/models/a cannot be written"):
        store.fetch_directory("models", tmp_path / "cache")


def test_publish_directory_that_fails_halfway_leaves_nothing(
    s3_url: str, s3_credentials: S3Server, tmp_path: Path
) -> None:
    store = open_store(Settings(central_storage_url=s3_url, s3_endpoint_url=s3_credentials.endpoint_url))
    for name in ("a", "b", "not a key"):
        (tmp_path / name).write_bytes(b"content")

    with pytest.raises(StorageError, match="'models/plankton-v1/not a key' is no storage key"):
        store.publish_directory(tmp_path, "models/plankton-v1")

    assert store.list("models") == []
