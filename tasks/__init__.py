"""Prefect tasks, one file per stage: each is a thin wrapper around one call of the library."""
