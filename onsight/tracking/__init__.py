"""Experiment tracking: one protocol, MLflow behind it, and a journal that outlives a server that is away."""

from onsight.tracking.tracker import CONFIG_TAG, DRIFT_TAG, RunStatus, TrackedRun, Tracker, open_tracker

__all__ = ["CONFIG_TAG", "DRIFT_TAG", "RunStatus", "TrackedRun", "Tracker", "open_tracker"]
