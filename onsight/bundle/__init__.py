"""The model bundle: the contract between training and serving."""

from onsight.bundle.classifier import Engine, OnnxClassifier
from onsight.bundle.explainer import Explainer
from onsight.bundle.golden import GoldenImages
from onsight.bundle.load import Bundle, load_bundle, load_detector_directory, load_reference_file
from onsight.bundle.metadata import validate_bundle_name
from onsight.bundle.publish import (
    BundleParts,
    bundle_bytes,
    list_bundles,
    metadata_key,
    publish_bundle,
    read_metadata,
    remove_bundle,
)

__all__ = [
    "Bundle",
    "BundleParts",
    "Engine",
    "Explainer",
    "GoldenImages",
    "OnnxClassifier",
    "bundle_bytes",
    "list_bundles",
    "load_bundle",
    "load_detector_directory",
    "load_reference_file",
    "metadata_key",
    "publish_bundle",
    "read_metadata",
    "remove_bundle",
    "validate_bundle_name",
]
