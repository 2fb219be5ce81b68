"""The predictions database: tables, migrations, and the few queries that the platform asks of it."""

from onsight.db.api_keys import SCOPES, ApiKey, Scope, create_api_key, ensure_api_key, list_api_keys, revoke_api_key
from onsight.db.desired import (
    DesiredModel,
    newest_desired,
    record_desired,
    record_rollback,
    rollback_target,
    wished_versions,
)
from onsight.db.engine import Database, open_database
from onsight.db.identifiers import uuid7
from onsight.db.lookup import find_prediction, find_unshipped, is_prediction_id
from onsight.db.migrate import upgrade
from onsight.db.monitoring_tables import (
    DriftAlertRow,
    DriftResultRow,
    FeedbackRow,
    RetrainingRow,
    ReviewItemRow,
)
from onsight.db.outbox import Outbox
from onsight.db.records import (
    ApiCallRecord,
    PredictionRecord,
    RefusedRecordError,
    insert_api_calls,
    insert_predictions,
)
from onsight.db.retention import AgedTable, count_aged_rows, delete_aged_rows, drift_evidence, images_to_keep
from onsight.db.retraining import (
    NOT_FIRED,
    RUNNING,
    DecisionRecord,
    DriftAlert,
    PastRetraining,
    RetrainingHistory,
    ServedVersion,
    claim_retraining,
    finish_retraining,
    note_dataset_tag,
    record_decision,
    retraining_history,
)
from onsight.db.shipper import OutboxShipper, ShipReport
from onsight.db.tables import ApiCallRow, ApiKeyRow, Base, DesiredModelRow, PredictionRow, WorkerRow
from onsight.db.waits import limit_waits
from onsight.db.windows import GOLDEN_REQUEST_PREFIX, PredictionWindow, newest_predictions
from onsight.db.workers import WorkerReport, forget_worker, live_workers, report_worker

__all__ = [
    "GOLDEN_REQUEST_PREFIX",
    "NOT_FIRED",
    "RUNNING",
    "SCOPES",
    "AgedTable",
    "ApiCallRecord",
    "ApiCallRow",
    "ApiKey",
    "ApiKeyRow",
    "Base",
    "Database",
    "DecisionRecord",
    "DesiredModel",
    "DesiredModelRow",
    "DriftAlert",
    "DriftAlertRow",
    "DriftResultRow",
    "FeedbackRow",
    "Outbox",
    "OutboxShipper",
    "PastRetraining",
    "PredictionRecord",
    "PredictionRow",
    "PredictionWindow",
    "RefusedRecordError",
    "RetrainingHistory",
    "RetrainingRow",
    "ReviewItemRow",
    "Scope",
    "ServedVersion",
    "ShipReport",
    "WorkerReport",
    "WorkerRow",
    "claim_retraining",
    "count_aged_rows",
    "create_api_key",
    "delete_aged_rows",
    "drift_evidence",
    "ensure_api_key",
    "find_prediction",
    "find_unshipped",
    "finish_retraining",
    "forget_worker",
    "images_to_keep",
    "insert_api_calls",
    "insert_predictions",
    "is_prediction_id",
    "limit_waits",
    "list_api_keys",
    "live_workers",
    "newest_desired",
    "newest_predictions",
    "note_dataset_tag",
    "open_database",
    "record_decision",
    "record_desired",
    "record_rollback",
    "report_worker",
    "retraining_history",
    "revoke_api_key",
    "rollback_target",
    "upgrade",
    "uuid7",
    "wished_versions",
]
