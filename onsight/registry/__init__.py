"""The model registry: one protocol, MLflow behind it, and the append-only record of promotions."""

from onsight.registry.promotions import PromotionEvidence, record_promotion
from onsight.registry.registry import ModelRegistry, open_registry

__all__ = ["ModelRegistry", "PromotionEvidence", "open_registry", "record_promotion"]
