"""The application, imported for good: by the supervisor, from which workers are forked, or by the only process.

The collector would look through what imports make again and again, though none of it is ever garbage: a tenth of the
start, and later a part of every full collection.
"""

import gc

gc.disable()
from services.dl_service.app import create_app, create_worker  # noqa: E402 - what is made before stays out of its sight

gc.freeze()
gc.enable()

__all__ = ["create_app", "create_worker"]
