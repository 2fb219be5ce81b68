"""What the libraries of a flow read from environment variables, set before any of them is imported."""

from __future__ import annotations

import logging
import os
import warnings

from onsight.settings import Settings

__all__ = ["prepare_environment"]

# Nothing phones home, and nothing is fetched at run time.
_OFFLINE = {
    "DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "true",
}
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "ALEMBIC_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}


def prepare_environment(*, verbose: bool = False) -> Settings:
    """Set what the libraries read, without overriding what a person set, and return the platform's settings.

    Args:
        verbose: Leave the libraries' own log lines and warnings on.
    """
    settings = Settings()
    defaults = dict(_OFFLINE)
    defaults["PREFECT_HOME"] = str(settings.state_dir.absolute() / "prefect")
    if not verbose:
        defaults |= _QUIET
        warnings.simplefilter("ignore")
        for name in ("alembic", "mlflow", "prefect", "tensorflow", "tf2onnx", "dvc"):
            logging.getLogger(name).setLevel(logging.ERROR)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    return settings
