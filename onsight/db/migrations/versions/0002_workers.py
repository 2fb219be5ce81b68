"""Several workers: what each of them serves, and which wishes take an earlier one back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds ``desired_model.kind`` and makes ``service_workers``."""
    op.add_column("desired_model", sa.Column("kind", sa.String(16), nullable=False, server_default="update"))
    op.create_table(
        "service_workers",
        sa.Column("worker_id", sa.String(128), nullable=False),
        sa.Column("replica", sa.String(64), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("bundle_name", sa.String(80), nullable=False),
        sa.Column("seen_seq", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.String(500), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_service_workers"),
    )
    op.create_index("ix_service_workers_reported_at", "service_workers", ["reported_at"])
