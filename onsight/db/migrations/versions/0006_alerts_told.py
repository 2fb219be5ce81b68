"""When people were told of a drift alert: the row comes first, for Prometheus and the retraining policy."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; earlier releases wrote a row only after somebody was told."""
    op.add_column("drift_alerts", sa.Column("told_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE drift_alerts SET told_at = raised_at")


def downgrade() -> None:
    """Drops the column."""
    op.drop_column("drift_alerts", "told_at")
