"""``models/<model>.yaml``: read with every field checked, written in a form that people can read."""

from __future__ import annotations

import re
from dataclasses import asdict, fields

import yaml
from pydantic import TypeAdapter, ValidationError

from onsight.domain import BundleMetadata
from onsight.errors import BundleError, ConfigError

__all__ = ["BUNDLE_FORMAT", "dump_metadata", "is_bundle_name", "parse_metadata", "validate_bundle_name"]

BUNDLE_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}-v[1-9][0-9]{0,8}")
_ADAPTER = TypeAdapter(BundleMetadata)
_FIELDS = frozenset(field.name for field in fields(BundleMetadata))


def is_bundle_name(name: str) -> bool:
    """Whether it is ``<model_name>-v<version>`` and nothing else."""
    return _NAME.fullmatch(name) is not None


def validate_bundle_name(name: str) -> str:
    """The name, if it is ``<model_name>-v<version>`` and nothing else: it becomes part of paths.

    Raises:
        ConfigError: It is not.
    """
    if not is_bundle_name(name):
        raise ConfigError(f"{name[:100]!r} is no bundle name", hint="a bundle is named <model_name>-v<version>")
    return name


def dump_metadata(metadata: BundleMetadata) -> bytes:
    """The YAML of a bundle's metadata."""
    plain = asdict(metadata)
    plain["classes"] = list(metadata.classes)
    plain["variants"] = list(metadata.variants)
    plain["metrics"] = dict(metadata.metrics)
    if metadata.confidence_map is not None:
        plain["confidence_map"] |= {
            name: list(getattr(metadata.confidence_map, name)) for name in ("confidences", "accuracies")
        }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).encode()


def parse_metadata(content: bytes, name: str) -> BundleMetadata:
    """Read a bundle's metadata.

    Raises:
        BundleError: It is no YAML, a field is missing, unknown or wrong, or it is another bundle's.
    """
    try:
        plain = yaml.safe_load(content)
        metadata = _ADAPTER.validate_python(plain)
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise BundleError(f"the metadata of {name} cannot be read: {error}", hint="publish it again") from error
    if unknown := sorted(set(plain) - _FIELDS):
        raise BundleError(f"the metadata of {name} has unknown fields: {', '.join(unknown)}", hint="publish it again")
    if metadata.bundle_name != name:
        raise BundleError(f"the metadata of {name} is that of {metadata.bundle_name}")
    if metadata.format_version != BUNDLE_FORMAT:
        raise BundleError(
            f"{name} is of bundle format {metadata.format_version}; this program reads format {BUNDLE_FORMAT}",
            hint="use the Onsight release that wrote it, or train again",
        )
    return metadata
