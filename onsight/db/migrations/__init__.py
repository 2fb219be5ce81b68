"""Alembic migrations of the predictions database; `onsight.db.upgrade` runs them."""
