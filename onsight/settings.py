"""What a place is: URLs, folders and credentials, read from environment variables.

Nothing set means local mode: an SQLite file for MLflow and for predictions, Prefect's ephemeral server, a local
folder as central storage, dl_service as a local process. The compose stack sets the same variables.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Where the platform's parts are. Build it once at an entry point and hand it down."""

    model_config = SettingsConfigDict(env_prefix="ONSIGHT_", frozen=True, extra="ignore")

    state_dir: Path = Field(Path(".onsight"), description="local mode's databases, logs and checkpoints")
    central_storage_url: str = Field("central_storage", description="a folder, or s3://bucket/prefix")
    s3_endpoint_url: str = Field("", description="for S3 servers other than the default one")
    tracking_uri: str = Field("", validation_alias="MLFLOW_TRACKING_URI")
    prefect_api_url: str = Field("", validation_alias="PREFECT_API_URL")
    database_url: str = Field("", description="SQLAlchemy URL of the predictions database")
    service_api_key: SecretStr = Field(SecretStr(""), description="sent to dl_service where it asks for a key")
    request_timeout_s: float = Field(10.0, gt=0, description="for one call to a server of the stack")

    @property
    def mlflow_tracking_uri(self) -> str:
        """The tracking URI: the one set, or an SQLite file below ``state_dir``."""
        return self.tracking_uri or f"sqlite:///{self.state_dir.absolute()}/mlflow.db"

    @property
    def predictions_database_url(self) -> str:
        """The predictions database: the one set, or an SQLite file below ``state_dir``."""
        return self.database_url or f"sqlite:///{self.state_dir.absolute()}/predictions.db"
