"""Retraining by policy, from the alert and the labels to the new version in production, with every server real."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from onsight.bundle import read_metadata
from onsight.db import (
    Database,
    DriftAlertRow,
    RetrainingRow,
    ReviewItemRow,
    insert_predictions,
    newest_desired,
    open_database,
    record_decision,
    retraining_history,
    upgrade,
    uuid7,
)
from onsight.db.retraining import DecisionRecord
from onsight.registry import open_registry
from onsight.settings import Settings
from onsight.storage import open_store
from tests.integration.flows.conftest import WriteConfig, run_command
