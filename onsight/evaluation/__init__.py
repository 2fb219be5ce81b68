"""How good a network is, with intervals; whether it may replace the one in production; and a report people read."""

from onsight.evaluation.calibration import Reliability
from onsight.evaluation.gate import compare
from onsight.evaluation.measure import ClassMetrics, Evaluation, evaluate
from onsight.evaluation.report import ReportContext, write_report
from onsight.evaluation.scores import accuracy

__all__ = [
    "ClassMetrics",
    "Evaluation",
    "Reliability",
    "ReportContext",
    "accuracy",
    "compare",
    "evaluate",
    "write_report",
]
