"""Promotion records: one JSON object per promotion, never changed, kept beside the bundles in central storage."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from onsight.domain import GateVerdict, Interval, ModelVersion
from onsight.errors import StorageError
from onsight.storage import ArtifactStore

__all__ = ["PromotionEvidence", "promoted_versions", "record_promotion"]

_FORMAT_VERSION = 1


@dataclass(frozen=True)
class PromotionEvidence:
    """What a promotion rests on, beside the gate's verdict.

    Attributes:
        test: The gate's test, as the config names it.
        n_images: How many images the verdict was measured on.
        metrics: The challenger's, with 95 % intervals.
        dataset_revision: Git's full commit hash.
        replaced: The version that was champion before, or None.
        report: Where the evaluation report is, or an empty string.
    """

    test: str
    n_images: int
    metrics: Mapping[str, Interval]
    dataset_name: str
    dataset_tag: str
    dataset_revision: str
    replaced: ModelVersion | None = None
    report: str = ""


def record_promotion(
    store: ArtifactStore,
    verdict: GateVerdict,
    version: ModelVersion,
    evidence: PromotionEvidence,
    promoted_at: datetime | None = None,
) -> str:
    """Write why a version became champion; a record is written once and never overwritten.

    Args:
        store: Central storage.
        verdict: The gate's; it passed.
        version: The new champion.
        evidence: What the verdict rests on.
        promoted_at: UTC; now if None.

    Returns:
        The record's key, ``promotions/<model_name>/<time>-v<version>.json``: sorted by name is sorted by time.

    Raises:
        BundleExistsError: This promotion is recorded already.
        StorageError: Storage cannot be written.
        ValueError: The verdict did not pass.
    """
    if not verdict.passed:
        raise ValueError(f"{version.bundle_name} did not pass the gate")
    when = promoted_at or datetime.now(UTC)
    key = f"promotions/{version.model_name}/{when:%Y%m%dT%H%M%S.%f}Z-v{version.version}.json"
    content = json.dumps(_record(verdict, version, evidence, when), indent=2, sort_keys=True, allow_nan=False)
    store.put_bytes(key, content.encode() + b"\n")
    return key


def promoted_versions(store: ArtifactStore, model_name: str) -> frozenset[int]:
    """The versions that any promotion record of a model names: the new champion's, and those it replaced.

    Raises:
        StorageError: Storage cannot be read, or a record is damaged.
    """
    named: set[int] = set()
    for key in store.list(f"promotions/{model_name}"):
        try:
            record = json.loads(store.read_bytes(key))
            replaced = record["replaced"]
            named |= {int(record["version"])} | ({int(replaced["version"])} if replaced else set())
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"the promotion record {key} cannot be read: {error}", key=key) from error
    return frozenset(named)


def _record(verdict: GateVerdict, version: ModelVersion, evidence: PromotionEvidence, when: datetime) -> dict[str, Any]:
    replaced = evidence.replaced
    return {
        "format_version": _FORMAT_VERSION,
        "promoted_at": when.isoformat(),
        "model_name": version.model_name,
        "version": version.version,
        "bundle_name": version.bundle_name,
        "run_id": version.run_id,
        "replaced": None if replaced is None else {"version": replaced.version, "run_id": replaced.run_id},
        "why": list(verdict.reasons),
        "gate": {
            "metric": verdict.metric,
            "test": evidence.test,
            "n_images": evidence.n_images,
            "challenger": {"name": verdict.challenger, **_interval(verdict.challenger_value)},
            "champion": _champion(verdict),
            "difference": None if verdict.difference is None else _interval(verdict.difference),
            "p_value": verdict.p_value,
        },
        "metrics": {name: _interval(value) for name, value in evidence.metrics.items()},
        "dataset": {
            "name": evidence.dataset_name,
            "tag": evidence.dataset_tag,
            "revision": evidence.dataset_revision,
        },
        "report": evidence.report,
    }


def _champion(verdict: GateVerdict) -> dict[str, Any] | None:
    if verdict.champion is None or verdict.champion_value is None:
        return None
    return {"name": verdict.champion, **_interval(verdict.champion_value)}


def _interval(interval: Interval) -> dict[str, float | None]:
    # A metric that cannot be computed is NaN, which is no JSON.
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: None if math.isnan(value) else value for name, value in values.items()}
