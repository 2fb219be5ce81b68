"""Ground truth after the fact: labels from files, and how right each version was, by class, day and week."""

from onsight.feedback.accuracy import AccuracyCounter, measure_accuracy, measure_version
from onsight.feedback.describing import describe_week
from onsight.feedback.importing import ImportReport, import_opinions

__all__ = ["AccuracyCounter", "ImportReport", "describe_week", "import_opinions", "measure_accuracy", "measure_version"]
