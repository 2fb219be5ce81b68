"""The predictions database: tables, migrations, and the few queries that the platform asks of it."""

from onsight.db.api_keys import SCOPES, ApiKey, Scope, create_api_key, ensure_api_key, list_api_keys, revoke_api_key
from onsight.db.desired import DesiredModel, newest_desired, record_desired, record_rollback, rollback_target
from onsight.db.drift_results import (
    DriftAlertRecord,
    DriftResultRecord,
    VerdictWord,
    count_drift_alerts,
    newest_drift_alert,
    newest_drift_run,
    past_verdicts,
    record_drift_alert,
    record_drift_results,
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
from onsight.db.shipper import OutboxShipper, ShipReport
from onsight.db.tables import ApiCallRow, ApiKeyRow, Base, DesiredModelRow, PredictionRow, WorkerRow
from onsight.db.waits import limit_waits
from onsight.db.windows import GOLDEN_REQUEST_PREFIX, PROPERTY_NAMES, PredictionWindow, WindowQuery, read_window
from onsight.db.workers import WorkerReport, forget_worker, live_workers, report_worker

__all__ = [
    "GOLDEN_REQUEST_PREFIX",
    "PROPERTY_NAMES",
    "SCOPES",
    "ApiCallRecord",
    "ApiCallRow",
    "ApiKey",
    "ApiKeyRow",
    "Base",
    "Database",
    "DesiredModel",
    "DesiredModelRow",
    "DriftAlertRecord",
    "DriftAlertRow",
    "DriftResultRecord",
    "DriftResultRow",
    "FeedbackRow",
    "Outbox",
    "OutboxShipper",
    "PredictionRecord",
    "PredictionRow",
    "PredictionWindow",
    "RefusedRecordError",
    "RetrainingRow",
    "ReviewItemRow",
    "Scope",
    "ShipReport",
    "VerdictWord",
    "WindowQuery",
    "WorkerReport",
    "WorkerRow",
    "count_drift_alerts",
    "create_api_key",
    "ensure_api_key",
    "find_prediction",
    "find_unshipped",
    "forget_worker",
    "insert_api_calls",
    "insert_predictions",
    "is_prediction_id",
    "limit_waits",
    "list_api_keys",
    "live_workers",
    "newest_desired",
    "newest_drift_alert",
    "newest_drift_run",
    "open_database",
    "past_verdicts",
    "read_window",
    "record_desired",
    "record_drift_alert",
    "record_drift_results",
    "record_rollback",
    "report_worker",
    "revoke_api_key",
    "rollback_target",
    "upgrade",
    "uuid7",
]
