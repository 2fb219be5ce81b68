"""What a place is: URLs, folders and credentials, read from environment variables.

Nothing set means local mode: an SQLite file for MLflow and for predictions, Prefect's ephemeral server, a local
folder as central storage, dl_service as a local process. The compose stack sets the same variables. A setting may also
be a file of the folder that ``ONSIGHT_SECRETS_DIR`` names, called as its variable in small letters.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

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
    service_url: str = Field("http://127.0.0.1:4242", description="of dl_service, unless a config names another")
    service_api_key: SecretStr = Field(SecretStr(""), description="sent to dl_service where it asks for a key")
    archive_dir: Path | None = Field(None, description="of uploaded images; not set: dl_service's below state_dir")
    request_timeout_s: float = Field(10.0, gt=0, description="for one call to a server of the stack")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there is no such file
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - its folder would be fixed at import
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then variables, then the files of ``ONSIGHT_SECRETS_DIR``."""
        folder = os.environ.get("ONSIGHT_SECRETS_DIR")
        files = (SecretsSettingsSource(settings_cls, folder),) if folder else ()
        return (init_settings, env_settings, *files)

    @property
    def image_archive_dir(self) -> Path:
        """The archive of uploaded images: the folder set, or dl_service's below ``state_dir``."""
        return self.archive_dir or self.state_dir / "dl_service" / "images"

    @property
    def mlflow_tracking_uri(self) -> str:
        """The tracking URI: the one set, or an SQLite file below ``state_dir``."""
        return self.tracking_uri or f"sqlite:///{self.state_dir.absolute()}/mlflow.db"

    @property
    def predictions_database_url(self) -> str:
        """The predictions database: the one set, or an SQLite file below ``state_dir``."""
        return self.database_url or f"sqlite:///{self.state_dir.absolute()}/predictions.db"
