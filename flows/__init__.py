"""Prefect flows, one file each; every flow module has ``start(config, resume=False)``."""
