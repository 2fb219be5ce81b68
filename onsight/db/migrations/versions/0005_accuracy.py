"""Realised and expected accuracy by day and week, as dashboards and the retraining policy read them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_KEY = ("model_name", "model_version", "period", "starts_at", "group_by", "class_name", "source")


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "accuracy",
        sa.Column("model_name", sa.String(63), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("period", sa.String(8), nullable=False),
        sa.Column("starts_at", _TIME, nullable=False),
        sa.Column("group_by", sa.String(16), nullable=False),
        sa.Column("class_name", sa.String(100), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("n_predictions", sa.Integer(), nullable=False),
        sa.Column("n_labelled", sa.Integer(), nullable=False),
        sa.Column("n_right", sa.Integer(), nullable=False),
        sa.Column("n_disputed", sa.Integer(), nullable=False),
        sa.Column("accuracy", sa.Float(53), nullable=True),
        sa.Column("accuracy_low", sa.Float(53), nullable=True),
        sa.Column("accuracy_high", sa.Float(53), nullable=True),
        sa.Column("expected_accuracy", sa.Float(53), nullable=True),
        sa.Column("is_calibrated", sa.Boolean(), nullable=False),
        sa.Column("delay_median_h", sa.Float(53), nullable=True),
        sa.Column("delay_p90_h", sa.Float(53), nullable=True),
        sa.Column("measured_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_accuracy"),
    )


def downgrade() -> None:
    """Drops the table, with everything in it."""
    op.drop_table("accuracy")
