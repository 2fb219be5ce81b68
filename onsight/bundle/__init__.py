"""The model bundle: the contract between training and serving."""

from onsight.bundle.classifier import Engine, OnnxClassifier
from onsight.bundle.explainer import Explainer
from onsight.bundle.golden import GoldenImages
from onsight.bundle.load import Bundle, load_bundle, load_detector_directory, load_reference_file
from onsight.bundle.metadata import validate_bundle_name
from onsight.bundle.publish import (
    BundleParts,
    VariantParts,
    bundle_bytes,
    list_bundles,
    metadata_key,
    publish_bundle,
    read_metadata,
    remove_bundle,
)
from onsight.bundle.variants import VariantChoice, preferred_variant, read_cpuinfo

__all__ = [
    "Bundle",
    "BundleParts",
    "Engine",
    "Explainer",
    "GoldenImages",
    "OnnxClassifier",
    "VariantChoice",
    "VariantParts",
    "bundle_bytes",
    "list_bundles",
    "load_bundle",
    "load_detector_directory",
    "load_reference_file",
    "metadata_key",
    "preferred_variant",
    "publish_bundle",
    "read_cpuinfo",
    "read_metadata",
    "remove_bundle",
    "validate_bundle_name",
]
