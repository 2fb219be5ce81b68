"""The predictions database: tables, migrations, and the few queries that the platform asks of it."""

from onsight.db.desired import DesiredModel, desired_history, newest_desired, record_desired
from onsight.db.engine import Database, open_database
from onsight.db.identifiers import uuid7
from onsight.db.lookup import find_prediction, find_unshipped, is_prediction_id
from onsight.db.migrate import head_revision, upgrade
from onsight.db.outbox import Outbox
from onsight.db.records import (
    ApiCallRecord,
    PredictionRecord,
    RefusedRecordError,
    insert_api_calls,
    insert_predictions,
)
from onsight.db.shipper import OutboxShipper, ShipReport
from onsight.db.tables import ApiCallRow, Base, DesiredModelRow, PredictionRow
from onsight.db.windows import GOLDEN_REQUEST_PREFIX, PredictionWindow, newest_predictions

__all__ = [
    "GOLDEN_REQUEST_PREFIX",
    "ApiCallRecord",
    "ApiCallRow",
    "Base",
    "Database",
    "DesiredModel",
    "DesiredModelRow",
    "Outbox",
    "OutboxShipper",
    "PredictionRecord",
    "PredictionRow",
    "PredictionWindow",
    "RefusedRecordError",
    "ShipReport",
    "desired_history",
    "find_prediction",
    "find_unshipped",
    "head_revision",
    "insert_api_calls",
    "insert_predictions",
    "is_prediction_id",
    "newest_desired",
    "newest_predictions",
    "open_database",
    "record_desired",
    "upgrade",
    "uuid7",
]
