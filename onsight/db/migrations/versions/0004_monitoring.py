"""Monitoring: image properties of a prediction, drift results and alerts, feedback, review, retraining."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_PROPERTIES = ("image_brightness", "image_contrast", "image_sharpness")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True)


def _needed(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _optional(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=True)


def upgrade() -> None:
    """Adds the columns, which rows from before do not have, and makes the tables."""
    for name in _PROPERTIES:
        op.add_column("predictions", sa.Column(name, sa.Float(53), nullable=True))
    _make_drift_results()
    _make_drift_alerts()
    _make_feedback()
    _make_review_items()
    _make_retraining_decisions()


def _make_drift_results() -> None:
    op.create_table(
        "drift_results",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        _needed("run_id", _ID),
        _needed("tested_at", _TIME),
        _needed("model_name", sa.String(63)),
        _needed("model_version", sa.Integer()),
        _needed("test", sa.String(32)),
        _needed("detector", sa.String(64)),
        _needed("verdict", sa.String(16)),
        _optional("statistic", sa.Float(53)),
        _optional("p_value", sa.Float(53)),
        _needed("threshold", sa.Float(53)),
        _needed("n_reference", sa.Integer()),
        _needed("n_window", sa.Integer()),
        _optional("window_start", _TIME),
        _optional("window_end", _TIME),
        _needed("details", _JSON),
        sa.PrimaryKeyConstraint("seq", name="pk_drift_results"),
    )
    op.create_index("ix_drift_results_run_id", "drift_results", ["run_id"])
    op.create_index("ix_drift_results_version", "drift_results", ["model_name", "model_version", "tested_at"])


def _make_drift_alerts() -> None:
    op.create_table(
        "drift_alerts",
        _needed("run_id", _ID),
        _needed("raised_at", _TIME),
        _needed("model_name", sa.String(63)),
        _needed("model_version", sa.Integer()),
        _needed("cause", sa.String(500)),
        _needed("report", sa.String(500)),
        sa.PrimaryKeyConstraint("run_id", name="pk_drift_alerts"),
    )
    op.create_index("ix_drift_alerts_raised_at", "drift_alerts", ["raised_at"])


def _make_feedback() -> None:
    op.create_table(
        "feedback",
        _needed("feedback_id", _ID),
        _needed("prediction_id", _ID),
        _needed("labels", _JSON),
        _needed("labelled_by", sa.String(128)),
        _needed("labelled_at", _TIME),
        _needed("source", sa.String(16)),
        sa.PrimaryKeyConstraint("feedback_id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_prediction_id", "feedback", ["prediction_id"])
    op.create_index("ix_feedback_labelled_at", "feedback", ["labelled_at"])


def _make_review_items() -> None:
    op.create_table(
        "review_items",
        _needed("prediction_id", _ID),
        _needed("model_name", sa.String(63)),
        _needed("model_version", sa.Integer()),
        _needed("reason", sa.String(16)),
        _needed("score", sa.Float(53)),
        _needed("chosen_at", _TIME),
        _needed("status", sa.String(16)),
        _optional("decided_by", sa.String(128)),
        _optional("decided_at", _TIME),
        _optional("dataset_tag", sa.String(64)),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_review_items"),
    )
    op.create_index("ix_review_items_open", "review_items", ["status", "chosen_at"])


def _make_retraining_decisions() -> None:
    op.create_table(
        "retraining_decisions",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        _needed("decided_at", _TIME),
        _needed("model_name", sa.String(63)),
        _needed("model_version", sa.Integer()),
        _needed("fired", sa.Boolean()),
        _needed("reasons", _JSON),
        _needed("new_labels", sa.Integer()),
        _optional("dataset_tag", sa.String(64)),
        _optional("flow_run_id", sa.String(64)),
        _needed("outcome", sa.String(500)),
        sa.PrimaryKeyConstraint("seq", name="pk_retraining_decisions"),
    )
    op.create_index("ix_retraining_decisions_decided_at", "retraining_decisions", ["decided_at"])


def downgrade() -> None:
    """Drops the tables and the columns, with everything in them."""
    for table in ("retraining_decisions", "review_items", "feedback", "drift_alerts", "drift_results"):
        op.drop_table(table)
    for name in _PROPERTIES:
        op.drop_column("predictions", name)
