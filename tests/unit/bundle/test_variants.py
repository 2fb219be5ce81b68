"""Variants of a graph: which one suits a processor, and that what is loaded is what was published under its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onsight.bundle import (
    BundleParts,
    Engine,
    GoldenImages,
    OnnxClassifier,
    VariantChoice,
    VariantParts,
    load_bundle,
    preferred_variant,
    publish_bundle,
    read_cpuinfo,
    read_metadata,
)
from onsight.domain import BundleMetadata, Variant
from onsight.errors import BundleError
from onsight.storage import ArtifactStore

_NAME = "plankton-v1"
_CPU = ("CPUExecutionProvider",)
_ZEN_3 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse4_2 avx2 vaes vpclmulqdq\nbugs\t\t: spectre\n\n"
_ZEN_4 = _ZEN_3.replace("avx2", "avx2 avx512f avx512_vnni")
_ALDER_LAKE = _ZEN_3.replace("avx2", "avx2 avx_vnni")
_GRAVITON_2 = "processor\t: 0\nFeatures\t: fp asimd evtstrm asimdhp asimddp\nCPU part\t: 0xd0c\n\n"
_PI_4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n\n"


@pytest.mark.parametrize(
    ("cpuinfo", "variant"),
    [
        (_ZEN_3, "fp32"),
        (_ZEN_4 + _ZEN_4, "int8"),
        (_ALDER_LAKE, "int8"),
        (_GRAVITON_2, "int8"),
        (_PI_4, "fp32"),
        (_ZEN_4 + _ZEN_3, "fp32"),
        (_ZEN_3.replace("AMD EPYC", "avx512_vnni"), "fp32"),
        ("", "fp32"),
    ],
    ids=["AVX2", "AVX-512 VNNI", "AVX VNNI", "Arm", "Arm without", "not all cores", "in a name alone", "unknown"],
)
def test_auto_is_int8_where_every_core_has_dot_products(cpuinfo: str, variant: Variant) -> None:
    assert preferred_variant("auto", _CPU, cpuinfo) == variant


@pytest.mark.parametrize("choice", ["fp32", "int8"])
def test_what_is_asked_for_is_preferred_whatever_the_processor(choice: VariantChoice) -> None:
    assert {preferred_variant(choice, _CPU, cpuinfo) for cpuinfo in (_ZEN_3, _ZEN_4)} == {choice}


def test_auto_on_a_gpu_is_fp32() -> None:
    assert preferred_variant("auto", ("CUDAExecutionProvider", *_CPU), _ZEN_4) == "fp32"


def test_read_cpuinfo_is_this_machines() -> None:
    assert "processor" in read_cpuinfo()


@pytest.fixture
def both(make_parts: Callable[[int], BundleParts]) -> BundleParts:
    """Parts with another graph as the int8 variant, so that the two are told apart."""
    first, other = make_parts(1), make_parts(2)
    images = first.golden.images
    answers = OnnxClassifier.load(other.graph, Engine(threads=1)).run(images).probabilities
    return replace(first, int8=VariantParts(other.graph, GoldenImages(images, answers)))


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_load_bundle_gives_the_variant_asked_for(
    store: ArtifactStore, both: BundleParts, metadata: BundleMetadata, tmp_path: Path, variant: Variant
) -> None:
    published = publish_bundle(store, both, metadata)
    assert published.variants == read_metadata(store, _NAME).variants == ("fp32", "int8")

    bundle = load_bundle(store, _NAME, tmp_path / "cache", Engine(threads=1), variant)

    files = both.variants()
    assert bundle.variant == variant
    answers = bundle.classifier.run(both.golden.images).probabilities
    np.testing.assert_allclose(answers, files[variant].golden.probabilities, atol=1e-6)
    np.testing.assert_array_equal(bundle.golden.probabilities, files[variant].golden.probabilities)
    (other,) = bundle.other_golden
    assert not np.allclose(other.probabilities, answers, atol=1e-2)


def test_load_bundle_without_the_variant_asked_for_gives_fp32(
    store: ArtifactStore, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    published = publish_bundle(store, parts, metadata)

    bundle = load_bundle(store, _NAME, tmp_path / "cache", Engine(threads=1), "int8")

    assert published.variants == ("fp32",)
    assert (bundle.variant, bundle.other_golden) == ("fp32", ())


def test_a_bundle_of_an_older_release_says_nothing_of_variants_and_loads(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    publish_bundle(store, parts, metadata)
    path = central / "models" / f"{_NAME}.yaml"
    path.write_text(path.read_text().replace("variants:\n- fp32\n", ""))
    assert "variants" not in path.read_text()

    bundle = load_bundle(store, _NAME, tmp_path / "cache", Engine(threads=1), "int8")

    assert (bundle.variant, bundle.metadata.variants) == ("fp32", ("fp32",))


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_load_bundle_whose_int8_graph_was_changed_is_refused_whichever_is_loaded(
    store: ArtifactStore, central: Path, both: BundleParts, metadata: BundleMetadata, tmp_path: Path, variant: Variant
) -> None:
    publish_bundle(store, both, metadata)
    path = central / "models" / _NAME / "model.int8.onnx"
    path.write_bytes(path.read_bytes() + b"\0")

    with pytest.raises(BundleError, match=r"model.int8.onnx was changed"):
        load_bundle(store, _NAME, tmp_path / "cache", variant=variant)


def test_load_bundle_whose_int8_graph_is_another_one_is_refused(
    store: ArtifactStore, both: BundleParts, metadata: BundleMetadata, tmp_path: Path
) -> None:
    assert both.int8 is not None
    publish_bundle(store, replace(both, int8=replace(both.int8, graph=both.graph)), metadata)

    with pytest.raises(BundleError, match=r"does not replay its golden outputs: off by .*, 0.02 allowed"):
        load_bundle(store, _NAME, tmp_path / "cache", variant="int8")


@pytest.mark.parametrize("listed", ["- fp32\n- int8\n", "- int8\n"], ids=["a file is missing", "no fp32"])
def test_load_bundle_whose_metadata_names_other_variants_is_refused(
    store: ArtifactStore, central: Path, parts: BundleParts, metadata: BundleMetadata, tmp_path: Path, listed: str
) -> None:
    publish_bundle(store, parts, metadata)
    path = central / "models" / f"{_NAME}.yaml"
    path.write_text(path.read_text().replace("- fp32\n", listed))

    with pytest.raises(BundleError, match=f"the metadata of {_NAME} names the variants .* its files are others"):
        load_bundle(store, _NAME, tmp_path / "cache")


def test_load_bundle_whose_variants_have_different_golden_images_is_refused(
    store: ArtifactStore, make_parts: Callable[[int], BundleParts], metadata: BundleMetadata, tmp_path: Path
) -> None:
    first, other = make_parts(1), make_parts(2)
    publish_bundle(store, replace(first, int8=VariantParts(other.graph, other.golden)), metadata)

    with pytest.raises(BundleError, match=f"the variants of {_NAME} have different golden images"):
        load_bundle(store, _NAME, tmp_path / "cache")
