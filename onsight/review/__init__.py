"""The review queue: which predictions a person should look at."""

from onsight.review.queue import QueueReport, fill_review_queue
from onsight.review.selection import Candidate, Choice, SelectionRules, choose, dispute_scores, uncertainty

__all__ = [
    "Candidate",
    "Choice",
    "QueueReport",
    "SelectionRules",
    "choose",
    "dispute_scores",
    "fill_review_queue",
    "uncertainty",
]
