"""The predictions database: tables, migrations, and the few queries that the platform asks of it."""

from onsight.db.api_keys import SCOPES, ApiKey, Scope, create_api_key, list_api_keys, revoke_api_key
from onsight.db.desired import DesiredModel, desired_history, newest_desired, record_desired
from onsight.db.engine import Database, open_database
from onsight.db.identifiers import uuid7
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
from onsight.db.tables import ApiCallRow, ApiKeyRow, Base, DesiredModelRow, PredictionRow
from onsight.db.windows import GOLDEN_REQUEST_PREFIX, PredictionWindow, newest_predictions

__all__ = [
    "GOLDEN_REQUEST_PREFIX",
    "SCOPES",
    "ApiCallRecord",
    "ApiCallRow",
    "ApiKey",
    "ApiKeyRow",
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
    "Scope",
    "ShipReport",
    "create_api_key",
    "desired_history",
    "head_revision",
    "insert_api_calls",
    "insert_predictions",
    "list_api_keys",
    "newest_desired",
    "newest_predictions",
    "open_database",
    "record_desired",
    "revoke_api_key",
    "upgrade",
    "uuid7",
]
