"""The predictions database: tables, migrations, and the few queries that the platform asks of it."""

from onsight.db.accuracy import (
    AccuracyGroup,
    AccuracyPeriod,
    AccuracyRecord,
    AnsweredImage,
    LabelArrival,
    answered_images,
    answered_versions,
    read_accuracy,
    replace_accuracy,
)
from onsight.db.api_keys import SCOPES, ApiKey, Scope, create_api_key, ensure_api_key, list_api_keys, revoke_api_key
from onsight.db.desired import DesiredModel, newest_desired, record_desired, record_rollback, rollback_target
from onsight.db.engine import Database, open_database
from onsight.db.feedback import find_versions, insert_opinions, read_opinions
from onsight.db.identifiers import uuid7
from onsight.db.lookup import find_prediction, find_unshipped, is_prediction_id
from onsight.db.migrate import upgrade
from onsight.db.monitoring_tables import (
    AccuracyRow,
    DriftAlertRow,
    DriftResultRow,
    FeedbackRow,
    RetrainingRow,
    ReviewItemRow,
)
from onsight.db.opinions import (
    LabelDecision,
    Opinion,
    OpinionSource,
    decide_label,
    find_opinion_problem,
    new_opinion,
)
from onsight.db.outbox import Outbox
from onsight.db.records import (
    ApiCallRecord,
    PredictionRecord,
    RefusedRecordError,
    insert_api_calls,
    insert_predictions,
)
from onsight.db.review import (
    ReviewedImage,
    ReviewItem,
    WaitingItem,
    add_review_items,
    count_open_review_items,
    decide_review_item,
    exclude_reviewed,
    find_review_item,
    mark_reviewed,
    open_review_items,
    waiting_reviewed_images,
)
from onsight.db.review_candidates import (
    UnjudgedPrediction,
    most_drifted,
    opinions_in_conflict,
    reviewed_features,
    unjudged_predictions,
)
from onsight.db.shipper import OutboxShipper, ShipReport
from onsight.db.tables import ApiCallRow, ApiKeyRow, Base, DesiredModelRow, PredictionRow, WorkerRow
from onsight.db.waits import limit_waits
from onsight.db.windows import GOLDEN_REQUEST_PREFIX, PredictionWindow, newest_predictions
from onsight.db.workers import WorkerReport, forget_worker, live_workers, report_worker

__all__ = [
    "GOLDEN_REQUEST_PREFIX",
    "SCOPES",
    "AccuracyGroup",
    "AccuracyPeriod",
    "AccuracyRecord",
    "AccuracyRow",
    "AnsweredImage",
    "ApiCallRecord",
    "ApiCallRow",
    "ApiKey",
    "ApiKeyRow",
    "Base",
    "Database",
    "DesiredModel",
    "DesiredModelRow",
    "DriftAlertRow",
    "DriftResultRow",
    "FeedbackRow",
    "LabelArrival",
    "LabelDecision",
    "Opinion",
    "OpinionSource",
    "Outbox",
    "OutboxShipper",
    "PredictionRecord",
    "PredictionRow",
    "PredictionWindow",
    "RefusedRecordError",
    "RetrainingRow",
    "ReviewItem",
    "ReviewItemRow",
    "ReviewedImage",
    "Scope",
    "ShipReport",
    "UnjudgedPrediction",
    "WaitingItem",
    "WorkerReport",
    "WorkerRow",
    "add_review_items",
    "answered_images",
    "answered_versions",
    "count_open_review_items",
    "create_api_key",
    "decide_label",
    "decide_review_item",
    "ensure_api_key",
    "exclude_reviewed",
    "find_opinion_problem",
    "find_prediction",
    "find_review_item",
    "find_unshipped",
    "find_versions",
    "forget_worker",
    "insert_api_calls",
    "insert_opinions",
    "insert_predictions",
    "is_prediction_id",
    "limit_waits",
    "list_api_keys",
    "live_workers",
    "mark_reviewed",
    "most_drifted",
    "new_opinion",
    "newest_desired",
    "newest_predictions",
    "open_database",
    "open_review_items",
    "opinions_in_conflict",
    "read_accuracy",
    "read_opinions",
    "record_desired",
    "record_rollback",
    "replace_accuracy",
    "report_worker",
    "reviewed_features",
    "revoke_api_key",
    "rollback_target",
    "unjudged_predictions",
    "upgrade",
    "uuid7",
    "waiting_reviewed_images",
]
