"""Loading: nothing that was changed, cut or mixed up gets as far as an answer."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onsight.bundle import (
    BundleParts,
    Engine,
    GoldenImages,
    OnnxClassifier,
    load_bundle,
    load_detector_directory,
    load_reference_file,
    publish_bundle,
    validate_bundle_name,
)
from onsight.domain import BundleMetadata
from onsight.errors import BundleError, ConfigError, StorageError
from onsight.storage import ArtifactStore

_NAME = "plankton-v1"


@pytest.fixture
def published(store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata) -> BundleMetadata:
    return publish_bundle(store, parts, metadata)


def seal(central: Path) -> None:
    """Make checksums and metadata fit the files again, as someone with write access could."""
    sums = central / "models" / _NAME / "SHA256SUMS"
    keys = [line.split("  ")[1] for line in sums.read_text().splitlines()]
    lines = [f"{hashlib.sha256((central / key).read_bytes()).hexdigest()}  {key}\n" for key in keys]
    before = hashlib.sha256(sums.read_bytes()).hexdigest()
    sums.write_text("".join(lines))
    yaml_file = central / "models" / f"{_NAME}.yaml"
    yaml_file.write_text(yaml_file.read_text().replace(before, hashlib.sha256(sums.read_bytes()).hexdigest()))


def test_load_bundle_gives_a_classifier_that_answers(
    store: ArtifactStore, parts: BundleParts, published: BundleMetadata, tmp_path: Path
) -> None:
    bundle = load_bundle(store, _NAME, tmp_path / "cache", Engine(threads=1))

    assert bundle.metadata == published
    answers = bundle.classifier.run(bundle.golden.images)
    np.testing.assert_allclose(answers.probabilities, parts.golden.probabilities, atol=1e-6)
    np.testing.assert_array_equal(bundle.golden.images, parts.golden.images)


def test_load_bundle_gives_the_class_weights(
    store: ArtifactStore, parts: BundleParts, published: BundleMetadata, tmp_path: Path
) -> None:
    explainer = load_bundle(store, _NAME, tmp_path / "cache", Engine(threads=1)).explainer

    assert explainer is not None
    assert parts.class_weights is not None
    np.testing.assert_array_equal(explainer.class_weights, parts.class_weights)


def test_load_bundle_without_class_weights_has_no_explainer_whatever_lies_beside_it(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    publish_bundle(store, replace(parts, class_weights=None), metadata)
    np.savez(central / "models" / _NAME / "explain.npz", class_weights=np.ones((8, 3), np.float32))

    assert load_bundle(store, _NAME, tmp_path / "cache", Engine(threads=1)).explainer is None


@pytest.mark.parametrize(
    "weights",
    [np.ones((7, 3), np.float32), np.ones((8, 4), np.float32), np.ones((3, 8), np.float32)],
    ids=["features", "classes", "transposed"],
)
def test_load_bundle_whose_class_weights_do_not_fit_its_graph_is_refused(
    store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path, weights: np.ndarray[Any, Any]
) -> None:
    publish_bundle(store, replace(parts, class_weights=weights), metadata)

    with pytest.raises(BundleError, match=r"the class weights of plankton-v1 .* classes \[8, 3\]"):
        load_bundle(store, _NAME, tmp_path / "cache")


@pytest.mark.parametrize("weights", [np.ones(8, np.float32), np.full((8, 3), np.nan)], ids=["vector", "no number"])
def test_publish_bundle_of_class_weights_that_are_none_is_refused(
    store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata, weights: np.ndarray[Any, Any]
) -> None:
    with pytest.raises(BundleError, match="class weights are a finite"):
        publish_bundle(store, replace(parts, class_weights=weights), metadata)


@pytest.mark.parametrize("file", ["model.onnx", "model.keras", "golden.npz", "explain.npz"])
def test_load_bundle_when_a_file_was_changed_names_it(
    store: ArtifactStore, central: Path, published: BundleMetadata, tmp_path: Path, file: str
) -> None:
    path = central / "models" / _NAME / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(BundleError, match=f"models/{_NAME}/{file} was changed after it was published"):
        load_bundle(store, _NAME, tmp_path / "cache")


@pytest.mark.parametrize("file", ["model.onnx", "model.keras", "golden.npz", "explain.npz"])
def test_load_bundle_when_a_file_is_missing_names_it(
    store: ArtifactStore, central: Path, published: BundleMetadata, tmp_path: Path, file: str
) -> None:
    (central / "models" / _NAME / file).unlink()

    with pytest.raises(BundleError, match=f"models/{_NAME}/{file} of the bundle is missing"):
        load_bundle(store, _NAME, tmp_path / "cache")


def test_load_bundle_when_the_checksums_were_changed_says_so(
    store: ArtifactStore, central: Path, published: BundleMetadata, tmp_path: Path
) -> None:
    sums = central / "models" / _NAME / "SHA256SUMS"
    sums.write_text(sums.read_text().replace("model.keras", "model.other"))

    with pytest.raises(BundleError, match="the SHA256SUMS of plankton-v1 was changed"):
        load_bundle(store, _NAME, tmp_path / "cache")


def test_load_bundle_of_a_name_that_was_never_published_is_a_storage_error(
    store: ArtifactStore, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=r"has no models/plankton-v1.yaml"):
        load_bundle(store, _NAME, tmp_path / "cache")


def test_load_bundle_whose_golden_answers_are_another_networks_is_refused(
    store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    wrong = np.roll(parts.golden.probabilities, 1, axis=1)
    publish_bundle(store, replace(parts, golden=GoldenImages(parts.golden.images, wrong)), metadata)

    with pytest.raises(BundleError, match="plankton-v1 does not replay its golden outputs: off by"):
        load_bundle(store, _NAME, tmp_path / "cache")


@pytest.mark.parametrize(
    ("golden", "message"),
    [
        (GoldenImages(np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 3), np.float32)), "do not fit its graph"),
        (
            GoldenImages(np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 5), np.float32)),
            r"golden outputs are \[2, 5\]",
        ),
        (
            GoldenImages(np.zeros((2, 32, 32, 3), np.uint8), np.full((2, 3), np.nan, np.float32)),
            "does not replay its golden outputs",
        ),
    ],
    ids=["other size", "other classes", "no numbers"],
)
def test_load_bundle_whose_golden_images_do_not_fit_is_refused(
    store: ArtifactStore,
    parts: BundleParts,
    metadata: BundleMetadata,
    tmp_path: Path,
    golden: GoldenImages,
    message: str,
) -> None:
    publish_bundle(store, replace(parts, golden=golden), metadata)

    with pytest.raises(BundleError, match=message):
        load_bundle(store, _NAME, tmp_path / "cache")


def test_load_bundle_never_unpickles(
    store: ArtifactStore, central: Path, published: BundleMetadata, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    buffer = io.BytesIO()
    np.savez(buffer, images=np.array([_Trap(trap)], dtype=object), probabilities=np.zeros(1))
    (central / "models" / _NAME / "golden.npz").write_bytes(buffer.getvalue())
    seal(central)

    with pytest.raises(BundleError, match="the golden images .* cannot be read"):
        load_bundle(store, _NAME, tmp_path / "cache")

    assert not trap.exists()


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Trap(tmp_path / "sprung")))

    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("version: 1\n", "version: 2\n", 1), "is that of plankton-v2"),
        (lambda text: text.replace("input_width: 32", "input_width: 64"), "its metadata says"),
        (lambda text: text.replace("format_version: 1", "format_version: 9"), "bundle format 9"),
        (lambda text: text + "colour: red\n", "unknown fields: colour"),
        (lambda text: text.replace("run_id: run\n", ""), "run_id"),
        (lambda text: text.replace("classifier_type: multi-class", "classifier_type: other"), "classifier_type"),
        (lambda text: "[1, 2", "cannot be read"),
        (lambda text: "- a list\n", "cannot be read"),
        (lambda text: "!!python/object/apply:os.getcwd []\n", "cannot be read"),
    ],
    ids=["version", "size", "format", "unknown", "missing", "choice", "no yaml", "list", "object"],
)
def test_load_bundle_whose_metadata_was_changed_is_refused(
    store: ArtifactStore,
    central: Path,
    published: BundleMetadata,
    tmp_path: Path,
    change: Callable[[str], str],
    message: str,
) -> None:
    path = central / "models" / f"{_NAME}.yaml"
    path.write_text(change(path.read_text()))

    with pytest.raises(BundleError, match=message):
        load_bundle(store, _NAME, tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"no checksum\n", b"\xff\xfe"], ids=["empty", "text", "bytes"])
def test_load_bundle_whose_checksums_cannot_be_read_is_refused(
    store: ArtifactStore, central: Path, published: BundleMetadata, tmp_path: Path, content: bytes
) -> None:
    (central / "models" / _NAME / "SHA256SUMS").write_bytes(content)
    yaml_file = central / "models" / f"{_NAME}.yaml"
    yaml_file.write_text(yaml_file.read_text().replace(published.sha256, hashlib.sha256(content).hexdigest()))

    with pytest.raises(BundleError, match="the SHA256SUMS of plankton-v1 cannot be read"):
        load_bundle(store, _NAME, tmp_path / "cache")


def test_load_detector_directory_is_verified_too(
    store: ArtifactStore, central: Path, published: BundleMetadata, tmp_path: Path
) -> None:
    folder = load_detector_directory(store, _NAME, "uae", tmp_path / "cache")
    assert sorted(path.name for path in folder.iterdir()) == ["detector.json", "reference.npz"]

    (folder / "detector.json").write_text("{}")
    with pytest.raises(BundleError, match=r"models/plankton-v1_uae/detector.json was changed"):
        load_detector_directory(store, _NAME, "uae", tmp_path / "cache")


@pytest.mark.usefixtures("published")
def test_load_reference_file_is_verified_too(store: ArtifactStore, central: Path, tmp_path: Path) -> None:
    stored = central / "ref_data" / f"{_NAME}_ref_data.parquet"
    assert load_reference_file(store, _NAME, tmp_path / "cache").read_bytes() == stored.read_bytes()

    stored.chmod(0o644)
    stored.write_bytes(b"other data")
    with pytest.raises(BundleError, match=r"ref_data/plankton-v1_ref_data.parquet was changed"):
        load_reference_file(store, _NAME, tmp_path / "cache")


def test_a_bundle_whose_graph_is_another_kind_of_file_is_refused(
    store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    publish_bundle(store, replace(parts, graph=parts.network), metadata)

    with pytest.raises(BundleError, match=r"model.onnx cannot be loaded"):
        load_bundle(store, _NAME, tmp_path / "cache")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "plankton",
        "plankton-v0",
        "plankton-v01",
        "../plankton-v1",
        "a/b-v1",
        "-v1",
        ".a-v1",
        "a-v1\n",
        "ä-v1",
        "a-v1.yaml",
    ],
)
def test_validate_bundle_name_refuses(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is no bundle name"):
        validate_bundle_name(name)
    with pytest.raises(ConfigError, match="is no bundle name"):
        load_bundle(store, name, tmp_path)


@pytest.mark.parametrize("name", ["plankton-v1", "a-v999999999", "My_model-2-v10", "7-v7"])
def test_validate_bundle_name_accepts(name: str) -> None:
    assert validate_bundle_name(name) == name


def test_classifier_refuses_images_of_another_shape_or_type(parts: BundleParts) -> None:
    classifier = OnnxClassifier.load(parts.graph, Engine(threads=1))

    with pytest.raises(ValueError, match=r"images are uint8 \[1, 32, 32, 3\], not uint8 \[1, 16, 32, 3\]"):
        classifier.run(np.zeros((1, 16, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="not float32"):
        classifier.run(np.zeros((1, 32, 32, 3), np.float32))
