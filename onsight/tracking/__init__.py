"""Experiment tracking: one protocol, MLflow behind it, and a journal that outlives a server that is away."""

from onsight.tracking.tracker import RunStatus, TrackedRun, Tracker, open_tracker

__all__ = ["RunStatus", "TrackedRun", "Tracker", "open_tracker"]
