"""Publishing: all of a bundle or none, once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from onsight.bundle import BundleParts, Engine, list_bundles, load_bundle, metadata_key, publish_bundle, read_metadata
from onsight.domain import BundleMetadata
from onsight.errors import BundleError, BundleExistsError, StorageError
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store

_LAYOUT = [
    "models/plankton-v1.yaml",
    "models/plankton-v1/SHA256SUMS",
    "models/plankton-v1/explain.npz",
    "models/plankton-v1/golden.npz",
    "models/plankton-v1/model.keras",
    "models/plankton-v1/model.onnx",
    "models/plankton-v1_bbsd/detector.json",
    "models/plankton-v1_bbsd/reference.npz",
    "models/plankton-v1_uae/detector.json",
    "models/plankton-v1_uae/reference.npz",
    "ref_data/plankton-v1_ref_data.parquet",
]


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_publish_bundle_gives_the_documented_layout(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata
) -> None:
    published = publish_bundle(store, parts, metadata)

    assert files_below(central) == _LAYOUT
    assert read_metadata(store, "plankton-v1") == published
    assert replace(published, sha256="") == metadata


def test_checksums_of_a_bundle_are_right_for_sha256sum(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata
) -> None:
    publish_bundle(store, parts, metadata)
    sums = "models/plankton-v1/SHA256SUMS"

    checked = subprocess.run(["sha256sum", "-c", sums], cwd=central, capture_output=True, text=True, check=True)

    covered = [line.split(":")[0] for line in checked.stdout.splitlines()]
    assert sorted([*covered, sums, "models/plankton-v1.yaml"]) == _LAYOUT


def test_publish_bundle_again_with_the_same_content_changes_nothing(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata
) -> None:
    first = publish_bundle(store, parts, metadata)
    before = {path: path.stat().st_mtime_ns for path in central.rglob("*") if path.is_file()}

    assert publish_bundle(store, parts, metadata) == first

    assert {path: path.stat().st_mtime_ns for path in central.rglob("*") if path.is_file()} == before


def test_publish_bundle_again_with_other_content_is_refused(
    store: ArtifactStore, make_parts: Callable[[int], BundleParts], parts: BundleParts, metadata: BundleMetadata
) -> None:
    first = publish_bundle(store, parts, metadata)

    with pytest.raises(BundleExistsError, match="plankton-v1 was published before"):
        publish_bundle(store, make_parts(2), metadata)

    assert read_metadata(store, "plankton-v1") == first


@pytest.mark.parametrize("field", ["network", "graph", "uae_detector", "bbsd_detector", "reference"])
def test_publish_bundle_with_a_missing_part_names_it_and_writes_nothing(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata, field: str
) -> None:
    gone = parts.graph.with_name("gone")

    with pytest.raises(BundleError, match=f"a part of bundle plankton-v1 is missing: {gone}"):
        publish_bundle(store, replace(parts, **{field: gone}), metadata)

    assert files_below(central) == []


class FailingStore:
    """A store whose n-th write fails, as on a disk that fills up."""

    def __init__(self, store: ArtifactStore, n_good: int) -> None:
        self._store, self._left = store, n_good

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put_bytes(self, key: str, content: bytes) -> None:
        self._count()
        self._store.put_bytes(key, content)

    def publish_directory(self, source: Path, prefix: str) -> None:
        self._count()
        self._store.publish_directory(source, prefix)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise StorageError("No space left on device")


@pytest.mark.parametrize("n_good", range(5))
def test_publish_bundle_when_any_write_fails_leaves_nothing(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata, n_good: int
) -> None:
    with pytest.raises(StorageError, match="No space left"):
        publish_bundle(FailingStore(store, n_good), parts, metadata)

    assert files_below(central) == []
    assert list_bundles(store) == []
    publish_bundle(store, parts, metadata)
    assert files_below(central) == _LAYOUT


class ForgetfulStore(FailingStore):
    """A store that writes the metadata but loses its answer, so that the repeated request finds the key taken."""

    def put_bytes(self, key: str, content: bytes) -> None:
        self._store.put_bytes(key, content)
        if key.endswith(".yaml"):
            self._store.put_bytes(key, content)


def test_publish_bundle_when_the_last_answer_is_lost_then_is_published(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    published = publish_bundle(ForgetfulStore(store, 5), parts, metadata)

    assert files_below(central) == _LAYOUT
    assert load_bundle(store, "plankton-v1", tmp_path / "cache", Engine(threads=1)).metadata == published


def test_publish_bundle_on_a_full_disk_leaves_nothing(
    small_disk: Path, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    big = tmp_path / "big.parquet"
    big.write_bytes(b"\0" * 1024 * 1024)
    store = open_store(Settings(central_storage_url=str(small_disk)))

    with pytest.raises(StorageError, match="No space left on device"):
        publish_bundle(store, replace(parts, reference=big), metadata)

    assert files_below(small_disk) == []


def test_publish_bundle_over_the_rest_of_a_killed_publication_succeeds(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata
) -> None:
    store.put_bytes("models/plankton-v1/model.keras", b"cut off")
    store.put_bytes("models/plankton-v1_uae/stale.json", b"cut off")

    publish_bundle(store, parts, metadata)

    assert files_below(central) == _LAYOUT


def test_publish_bundle_writes_the_metadata_last(
    store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for name in ("put_bytes", "publish_directory"):
        original = getattr(type(store), name)

        def record(self: ArtifactStore, *args: object, original: Callable[..., None] = original) -> None:
            order.extend(arg for arg in args if isinstance(arg, str))
            original(self, *args)

        monkeypatch.setattr(type(store), name, record)

    publish_bundle(store, parts, metadata)

    assert order[-1] == metadata_key("plankton-v1")
    assert len(order) == 5


def test_publish_bundle_to_s3_then_load_bundle_gives_the_same(
    s3_url: str, s3_credentials: object, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    store = open_store(Settings(central_storage_url=s3_url, s3_endpoint_url=s3_credentials.endpoint_url))

    published = publish_bundle(store, parts, metadata)
    bundle = load_bundle(store, "plankton-v1", tmp_path / "cache", Engine(threads=1))

    assert publish_bundle(store, parts, metadata) == published == bundle.metadata
    assert sorted(store.list("models") + store.list("ref_data")) == _LAYOUT


def test_list_bundles_sorts_by_number_and_leaves_other_files_out(
    store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata
) -> None:
    for version in (10, 9):
        publish_bundle(store, parts, replace(metadata, version=version))
    store.put_bytes("models/README.md", b"")
    store.put_bytes("models/notes.yaml", b"")

    assert list_bundles(store) == ["plankton-v9", "plankton-v10"]


def test_metadata_of_a_bundle_is_plain_yaml(store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata) -> None:
    publish_bundle(store, parts, metadata)

    plain = yaml.safe_load(store.read_bytes("models/plankton-v1.yaml"))

    assert plain["classes"] == list(metadata.classes)
    assert plain["created_at"] == metadata.created_at
    assert len(plain["sha256"]) == 64
