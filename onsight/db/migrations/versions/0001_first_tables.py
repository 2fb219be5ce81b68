"""The first tables: predictions, api_log, desired_model."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _floats() -> sa.types.TypeEngine[object]:
    return sa.JSON().with_variant(postgresql.ARRAY(postgresql.DOUBLE_PRECISION()), "postgresql")


def upgrade() -> None:
    """Makes the tables and their indices."""
    _make_predictions()
    _index_predictions()
    _make_api_log()
    _make_desired_model()


def _make_predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("prediction_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("model_name", sa.String(63), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("probabilities", _floats(), nullable=False),
        sa.Column("top_class", sa.String(100), nullable=False),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("uae_feats", _floats(), nullable=False),
        sa.Column("bbsd_feats", _floats(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("image_bytes", sa.Integer(), nullable=False),
        sa.Column("image_width", sa.Integer(), nullable=False),
        sa.Column("image_height", sa.Integer(), nullable=False),
        sa.Column("image_format", sa.String(16), nullable=False),
        sa.Column("client", sa.String(128), nullable=False),
        sa.Column("timings_ms", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_predictions"),
    )


def _index_predictions() -> None:
    op.create_index(
        "ix_predictions_version_newest",
        "predictions",
        ["model_name", "model_version", sa.text("created_at DESC"), sa.text("prediction_id DESC")],
    )
    op.create_index("ix_predictions_created_at", "predictions", ["created_at"])


def _make_api_log() -> None:
    op.create_table(
        "api_log",
        sa.Column("call_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("latency_ms", sa.Float(53), nullable=False),
        sa.Column("client", sa.String(128), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_api_log"),
    )
    op.create_index("ix_api_log_request_id", "api_log", ["request_id"])
    op.create_index("ix_api_log_at", "api_log", ["at"])


def _make_desired_model() -> None:
    op.create_table(
        "desired_model",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("model_name", sa.String(63), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.String(128), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_desired_model"),
    )


def downgrade() -> None:
    """Drops the tables."""
    op.drop_table("desired_model")
    op.drop_table("api_log")
    op.drop_table("predictions")
