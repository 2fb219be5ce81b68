"""The model registry: one protocol, MLflow behind it, and the append-only record of promotions."""

from onsight.registry.promotions import PromotionEvidence, promoted_versions, record_promotion
from onsight.registry.registry import ModelRegistry, open_registry

__all__ = ["ModelRegistry", "PromotionEvidence", "open_registry", "promoted_versions", "record_promotion"]
