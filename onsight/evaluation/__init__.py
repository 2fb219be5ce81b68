"""How good a network is, with intervals; whether it may replace the one in production; and a report people read."""

from onsight.evaluation.calibration import Reliability, answer_confidence, expected_accuracy, fit_confidence_map
from onsight.evaluation.gate import compare
from onsight.evaluation.measure import ClassMetrics, Evaluation, evaluate
from onsight.evaluation.report import ReportContext, write_report
from onsight.evaluation.scores import THRESHOLD, accuracy

__all__ = [
    "THRESHOLD",
    "ClassMetrics",
    "Evaluation",
    "Reliability",
    "ReportContext",
    "accuracy",
    "answer_confidence",
    "compare",
    "evaluate",
    "expected_accuracy",
    "fit_confidence_map",
    "write_report",
]
