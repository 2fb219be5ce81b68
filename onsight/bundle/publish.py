"""Publishing a bundle: all files first, the metadata that names them last."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from onsight.bundle.checksums import dump_checksums, sha256_of_bytes
from onsight.bundle.explainer import write_explainer
from onsight.bundle.golden import GoldenImages, write_golden
from onsight.bundle.metadata import dump_metadata, is_bundle_name, parse_metadata, validate_bundle_name
from onsight.bundle.variants import golden_file, graph_file
from onsight.domain import BundleMetadata, Variant
from onsight.errors import BundleError, BundleExistsError, StorageError
from onsight.storage import ArtifactStore

__all__ = [
    "BundleParts",
    "VariantParts",
    "bundle_bytes",
    "list_bundles",
    "metadata_key",
    "publish_bundle",
    "read_metadata",
    "remove_bundle",
]


@dataclass(frozen=True)
class VariantParts:
    """A serving graph and what it answers.

    Attributes:
        graph: ONNX.
    """

    graph: Path
    golden: GoldenImages


@dataclass(frozen=True)
class BundleParts:
    """What a bundle is made of, as training left it.

    Attributes:
        network: The trained ``.keras`` file.
        graph: The serving graph, ONNX.
        uae_detector: Folder of a saved drift detector.
        bbsd_detector: Folder of a saved drift detector.
        reference: Reference data, Parquet.
        class_weights: float32 [F, C], the kernel of the classification layer; without it answers are not explained.
        int8: The same graph in 8-bit integers, where it is good enough; its golden images are the same.
    """

    network: Path
    graph: Path
    golden: GoldenImages
    uae_detector: Path
    bbsd_detector: Path
    reference: Path
    class_weights: NDArray[np.float32] | None = None
    int8: VariantParts | None = None

    def variants(self) -> dict[Variant, VariantParts]:
        """Every serving graph."""
        fp32: dict[Variant, VariantParts] = {"fp32": VariantParts(self.graph, self.golden)}
        return fp32 if self.int8 is None else {**fp32, "int8": self.int8}


def metadata_key(name: str) -> str:
    """The storage key of a bundle's metadata file."""
    return f"models/{validate_bundle_name(name)}.yaml"


def publish_bundle(store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata) -> BundleMetadata:
    """Publish a bundle; its metadata file comes last, so that a reader sees all of it or none.

    Args:
        store: Central storage.
        parts: The files; they are copied.
        metadata: Its ``sha256`` and ``variants`` are filled in here.

    Returns:
        The metadata as published.

    Raises:
        BundleExistsError: A bundle of this name is there, with other content.
        StorageError: Storage cannot be written; nothing stays behind.
        BundleError: A part is missing.
    """
    name = validate_bundle_name(metadata.bundle_name)
    with TemporaryDirectory(prefix="onsight-bundle-") as staging:
        folders = _stage(Path(staging), parts, name)
        sums = dump_checksums(_files_by_key(Path(staging)))
        (folders[0] / "SHA256SUMS").write_bytes(sums)
        metadata = replace(metadata, sha256=sha256_of_bytes(sums), variants=tuple(parts.variants()))
        if store.exists(metadata_key(name)):
            return _same_or_refused(store, metadata)
        return _publish_folders(store, Path(staging), folders, metadata)


def read_metadata(store: ArtifactStore, name: str) -> BundleMetadata:
    """The metadata of a published bundle.

    Raises:
        StorageError: There is none of this name.
        BundleError: It cannot be read.
    """
    return parse_metadata(store.read_bytes(metadata_key(name)), name)


def list_bundles(store: ArtifactStore) -> list[str]:
    """Names of all published bundles, sorted by model and version."""
    files = [key.removeprefix("models/") for key in store.list("models") if key.endswith(".yaml")]
    names = [name for name in (file.removesuffix(".yaml") for file in files) if is_bundle_name(name)]
    return sorted(names, key=lambda name: (name.rpartition("-v")[0], int(name.rpartition("-v")[2])))


def bundle_bytes(store: ArtifactStore, name: str) -> int:
    """The size of everything that a bundle is made of; 0 if there is none.

    Raises:
        StorageError: Storage cannot be read.
    """
    return sum(store.size_bytes(key) for key in (metadata_key(name), *_content_keys(name)))


def remove_bundle(store: ArtifactStore, name: str) -> None:
    """Remove a bundle, its metadata first: from then on there is no bundle that a reader could see half of.

    What an earlier call left when it was cut off is removed too.

    Raises:
        StorageError: Storage cannot be written.
    """
    for key in (metadata_key(name), *_content_keys(name)):
        store.delete(key)


def _content_keys(name: str) -> tuple[str, ...]:
    """Where the files of a bundle lie, in the order in which they are published."""
    return f"models/{name}", f"models/{name}_uae", f"models/{name}_bbsd", f"ref_data/{name}_ref_data.parquet"


def _stage(staging: Path, parts: BundleParts, name: str) -> list[Path]:
    """Copy the parts to where their keys say, below ``staging``; the folders to publish, in order."""
    model, uae, bbsd, reference = folders = [staging / key for key in _content_keys(name)]
    try:
        model.mkdir(parents=True)
        reference.parent.mkdir()
        shutil.copyfile(parts.network, model / "model.keras")
        for variant, files in parts.variants().items():
            shutil.copyfile(files.graph, model / graph_file(variant))
            write_golden(files.golden, model / golden_file(variant))
        shutil.copytree(parts.uae_detector, uae)
        shutil.copytree(parts.bbsd_detector, bbsd)
        shutil.copyfile(parts.reference, reference)
        if parts.class_weights is not None:
            write_explainer(parts.class_weights, model / "explain.npz")
    except FileNotFoundError as error:
        raise BundleError(f"a part of bundle {name} is missing: {error.filename}") from error
    except OSError as error:
        raise StorageError(f"bundle {name} cannot be put together in {staging}: {error.strerror}") from error
    return folders


def _files_by_key(staging: Path) -> dict[str, Path]:
    return {path.relative_to(staging).as_posix(): path for path in staging.rglob("*") if path.is_file()}


def _publish_folders(
    store: ArtifactStore, staging: Path, folders: list[Path], metadata: BundleMetadata
) -> BundleMetadata:
    """Publish each folder, then the metadata; take all back if one fails, also what an earlier crash left."""
    keys = [folder.relative_to(staging).as_posix() for folder in folders]
    for key in keys:
        # Without the metadata file this is no bundle but the rest of a publication that was cut off.
        store.delete(key)
    published: list[str] = []
    try:
        for key, folder in zip(keys, folders, strict=True):
            if folder.is_dir():
                store.publish_directory(folder, key)
            else:
                store.put_bytes(key, folder.read_bytes())
            published.append(key)
        return _publish_metadata(store, metadata)
    except BaseException:
        _take_back(store, published, metadata.bundle_name)
        raise


def _publish_metadata(store: ArtifactStore, metadata: BundleMetadata) -> BundleMetadata:
    """The step that makes it a bundle."""
    try:
        store.put_bytes(metadata_key(metadata.bundle_name), dump_metadata(metadata))
    except BundleExistsError:
        # A repeated request whose first answer was lost, or another process that published the same name.
        return _same_or_refused(store, metadata)
    return metadata


def _take_back(store: ArtifactStore, keys: list[str], name: str) -> None:
    """Remove what was written, unless the bundle is published after all.

    Storage that fails to write may fail here as well; without its metadata it is no bundle.
    """
    with suppress(StorageError):
        if not store.exists(metadata_key(name)):
            for key in keys:
                store.delete(key)


def _same_or_refused(store: ArtifactStore, metadata: BundleMetadata) -> BundleMetadata:
    published = read_metadata(store, metadata.bundle_name)
    if published.sha256 != metadata.sha256:
        raise BundleExistsError(
            f"bundle {metadata.bundle_name} was published before, with other content",
            hint="what is published never changes: register a new version",
        )
    return published
