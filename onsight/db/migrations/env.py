"""Alembic's entry: runs the migrations on the connection that ``onsight.db.upgrade`` hands over."""

from __future__ import annotations

from alembic import context

from onsight.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    render_as_batch=context.config.attributes["connection"].dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
