"""Loading a bundle: checksums verified, golden images replayed, then and only then it may take traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onsight.bundle.checksums import parse_checksums, sha256_of_bytes, verify_file
from onsight.bundle.classifier import Engine, OnnxClassifier
from onsight.bundle.explainer import Explainer, read_explainer
from onsight.bundle.golden import GoldenImages, read_golden, replay
from onsight.bundle.publish import read_metadata
from onsight.bundle.variants import golden_file, graph_file
from onsight.domain import BundleMetadata, Variant
from onsight.errors import BundleError
from onsight.storage import ArtifactStore

__all__ = ["Bundle", "load_bundle", "load_detector_directory", "load_reference_file"]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, ready to answer.

    Attributes:
        golden: Of the variant that was loaded.
        explainer: None when the bundle was published without its class weights.
        other_golden: Of its other variants: the same images, and what they answer.
    """

    metadata: BundleMetadata
    classifier: OnnxClassifier
    golden: GoldenImages
    explainer: Explainer | None = None
    variant: Variant = "fp32"
    other_golden: tuple[GoldenImages, ...] = ()


def load_bundle(
    store: ArtifactStore,
    name: str,
    cache_dir: Path,
    engine: Engine = Engine(),  # noqa: B008 - frozen
    variant: Variant = "fp32",
) -> Bundle:
    """Load a bundle's serving part.

    Args:
        store: Central storage.
        name: ``<model_name>-v<version>``.
        cache_dir: Where copies go if storage is remote.
        engine: How its graph is run.
        variant: Which of its graphs; one that the bundle does not have is replaced by fp32, which every bundle has.

    Raises:
        ConfigError: The name is no bundle name.
        StorageError: There is no such bundle, or storage cannot be read.
        BundleError: A file is missing or changed, or the golden outputs are not replayed.
    """
    metadata = read_metadata(store, name)
    folder, files = _verified_files(store, metadata, f"models/{name}", cache_dir)
    loaded: Variant = variant if variant in metadata.variants else "fp32"
    _check_variants(metadata, files)
    classifier = OnnxClassifier.load(folder / graph_file(loaded), engine)
    _check_fit(metadata, classifier)
    golden = read_golden(folder / golden_file(loaded))
    replay(classifier, golden, name, loaded)
    others = tuple(read_golden(folder / golden_file(other)) for other in metadata.variants if other != loaded)
    if not all(np.array_equal(other.images, golden.images) for other in others):
        raise BundleError(f"the variants of {name} have different golden images", hint="publish it again")
    # A file that the checksums do not name is not part of the bundle.
    has_explainer = "explain.npz" in files
    explainer = read_explainer(folder / "explain.npz", classifier, name) if has_explainer else None
    return Bundle(metadata, classifier, golden, explainer, loaded, others)


def load_detector_directory(store: ArtifactStore, name: str, features: str, cache_dir: Path) -> Path:
    """The verified folder of a bundle's saved detector; ``features`` is ``uae`` or ``bbsd``.

    Raises:
        StorageError: There is no such bundle, or storage cannot be read.
        BundleError: A file is missing or changed.
    """
    return _verified_files(store, read_metadata(store, name), f"models/{name}_{features}", cache_dir)[0]


def load_reference_file(store: ArtifactStore, name: str, cache_dir: Path) -> Path:
    """A verified copy of a bundle's reference data, Parquet.

    Raises:
        StorageError: There is no such bundle, or storage cannot be read.
        BundleError: The file is missing or changed.
    """
    key = f"ref_data/{name}_ref_data.parquet"
    digest = _checksums(store, read_metadata(store, name)).get(key)
    if digest is None:
        raise BundleError(f"the SHA256SUMS of {name} does not name {key}", hint="publish it again")
    copy = cache_dir / key
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(store.read_bytes(key))
    verify_file(copy, digest, key)
    return copy


def _verified_files(
    store: ArtifactStore, metadata: BundleMetadata, prefix: str, cache_dir: Path
) -> tuple[Path, frozenset[str]]:
    """A folder of the bundle as local files, and the names of those whose checksums are right."""
    sums = _checksums(store, metadata)
    folder = store.fetch_directory(prefix, cache_dir)
    digests = {key: digest for key, digest in sums.items() if key.startswith(f"{prefix}/")}
    for key, digest in digests.items():
        verify_file(folder / key.removeprefix(f"{prefix}/"), digest, key)
    return folder, frozenset(key.removeprefix(f"{prefix}/") for key in digests)


def _checksums(store: ArtifactStore, metadata: BundleMetadata) -> Mapping[str, str]:
    """Digests of all of a bundle's files, by key."""
    name = metadata.bundle_name
    sums = store.read_bytes(f"models/{name}/SHA256SUMS")
    if sha256_of_bytes(sums) != metadata.sha256:
        raise BundleError(f"the SHA256SUMS of {name} was changed after it was published", hint="publish it again")
    return parse_checksums(sums, name)


def _check_fit(metadata: BundleMetadata, classifier: OnnxClassifier) -> None:
    said = (metadata.input_height, metadata.input_width, len(metadata.classes))
    found = (classifier.input_height, classifier.input_width, classifier.n_classes)
    if said != found:
        raise BundleError(
            f"the graph of {metadata.bundle_name} has height, width and classes {found}, its metadata says {said}",
            hint="publish it again",
        )


def _check_variants(metadata: BundleMetadata, files: frozenset[str]) -> None:
    named = {name for variant in metadata.variants for name in (graph_file(variant), golden_file(variant))}
    if "fp32" not in metadata.variants or not named <= files:
        raise BundleError(
            f"the metadata of {metadata.bundle_name} names the variants {', '.join(metadata.variants)}, "
            "its files are others",
            hint="publish it again",
        )
