"""Onsight's library: what each stage of the platform does, free of Prefect, FastAPI and (mostly) TensorFlow."""

__version__ = "0.1.0"
