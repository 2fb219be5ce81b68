"""Checks a data set before anything is trained on it, and answers with a verdict."""

from onsight.validation.gate import validate_dataset

__all__ = ["validate_dataset"]
