"""The tables, as SQLAlchemy sees them; the migrations below ``migrations/`` make them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Float, Index, Integer, MetaData, String, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

__all__ = [
    "ApiCallRow",
    "ApiKeyRow",
    "Base",
    "DesiredModelRow",
    "FloatArray",
    "JsonObject",
    "PredictionRow",
    "Sequence",
    "UtcDateTime",
    "WorkerRow",
]

FloatArray = JSON().with_variant(postgresql.ARRAY(postgresql.DOUBLE_PRECISION()), "postgresql")
JsonObject = JSON().with_variant(postgresql.JSONB(), "postgresql")
# SQLite counts up by itself for INTEGER keys alone.
Sequence = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: refuses times without a zone, and gives SQLite's back their zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Converts to UTC before it is stored."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value!r}")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Gives what was stored in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base; constraint names are fixed so that later migrations can name them."""

    metadata = MetaData(
        naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"},
    )


class PredictionRow(Base):
    """One answered prediction: what was asked, by which version, what it said, and the features drift tests read."""

    __tablename__ = "predictions"

    prediction_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(128))
    model_name: Mapped[str] = mapped_column(String(63))
    model_version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    probabilities: Mapped[list[float]] = mapped_column(FloatArray)
    top_class: Mapped[str] = mapped_column(String(100))
    confidence: Mapped[float] = mapped_column(Float(53))
    uae_feats: Mapped[list[float]] = mapped_column(FloatArray)
    bbsd_feats: Mapped[list[float]] = mapped_column(FloatArray)
    image_sha256: Mapped[str] = mapped_column(String(64))
    image_bytes: Mapped[int] = mapped_column(Integer)
    image_width: Mapped[int] = mapped_column(Integer)
    image_height: Mapped[int] = mapped_column(Integer)
    image_format: Mapped[str] = mapped_column(String(16))
    client: Mapped[str] = mapped_column(String(128))
    timings_ms: Mapped[dict[str, Any]] = mapped_column(JsonObject)
    # What the drift monitor asks of the picture itself; rows from before these columns have none.
    image_brightness: Mapped[float | None] = mapped_column(Float(53))
    image_contrast: Mapped[float | None] = mapped_column(Float(53))
    image_sharpness: Mapped[float | None] = mapped_column(Float(53))


Index(
    "ix_predictions_version_newest",
    PredictionRow.model_name,
    PredictionRow.model_version,
    PredictionRow.created_at.desc(),
    PredictionRow.prediction_id.desc(),
)
Index("ix_predictions_created_at", PredictionRow.created_at)


class ApiCallRow(Base):
    """One HTTP call to the service's API (probes and metrics are not logged)."""

    __tablename__ = "api_log"

    call_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(128), index=True)
    route: Mapped[str] = mapped_column(String(200))
    method: Mapped[str] = mapped_column(String(16))
    status: Mapped[int] = mapped_column(Integer)
    code: Mapped[str] = mapped_column(String(64))
    latency_ms: Mapped[float] = mapped_column(Float(53))
    client: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class DesiredModelRow(Base):
    """Which version the service should serve: rows are only added, and the newest one holds."""

    __tablename__ = "desired_model"

    seq: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16), server_default="update")
    model_name: Mapped[str] = mapped_column(String(63))
    model_version: Mapped[int] = mapped_column(Integer)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    requested_by: Mapped[str] = mapped_column(String(128))
    reason: Mapped[str] = mapped_column(String(500))


class WorkerRow(Base):
    """One process of the service, as it last reported."""

    __tablename__ = "service_workers"

    worker_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    replica: Mapped[str] = mapped_column(String(64))
    pid: Mapped[int] = mapped_column(Integer)
    bundle_name: Mapped[str] = mapped_column(String(80))
    seen_seq: Mapped[int] = mapped_column(BigInteger)
    problem: Mapped[str] = mapped_column(String(500))
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class ApiKeyRow(Base):
    """One API key: the hash of its text, never the text."""

    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    sha256: Mapped[str] = mapped_column(String(64))
    hint: Mapped[str] = mapped_column(String(4))
    scopes: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
