"""The prediction service: serves one bundle over HTTP with ONNX Runtime and logs every prediction."""

from services.dl_service.app import create_app
from services.dl_service.settings import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
