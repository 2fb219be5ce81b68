"""The tables of monitoring: drift, what people said, how right answers were, what waits for people, retraining."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Float, Index, Integer, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from onsight.db.tables import Base, JsonObject, Sequence, UtcDateTime

__all__ = ["AccuracyRow", "DriftAlertRow", "DriftResultRow", "FeedbackRow", "RetrainingRow", "ReviewItemRow"]


class DriftResultRow(Base):
    """One test of one run of the drift monitor; the row with ``test`` = ``combined`` is the run's verdict."""

    __tablename__ = "drift_results"

    seq: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), index=True)
    tested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    model_name: Mapped[str] = mapped_column(String(63))
    model_version: Mapped[int] = mapped_column(Integer)
    test: Mapped[str] = mapped_column(String(32))
    detector: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[str] = mapped_column(String(16))
    statistic: Mapped[float | None] = mapped_column(Float(53))
    p_value: Mapped[float | None] = mapped_column(Float(53))
    threshold: Mapped[float] = mapped_column(Float(53))
    n_reference: Mapped[int] = mapped_column(Integer)
    n_window: Mapped[int] = mapped_column(Integer)
    window_start: Mapped[datetime | None] = mapped_column(UtcDateTime)
    window_end: Mapped[datetime | None] = mapped_column(UtcDateTime)
    details: Mapped[dict[str, Any]] = mapped_column(JsonObject)


Index("ix_drift_results_version", DriftResultRow.model_name, DriftResultRow.model_version, DriftResultRow.tested_at)


class DriftAlertRow(Base):
    """One confirmed drift."""

    __tablename__ = "drift_alerts"

    run_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    raised_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    model_name: Mapped[str] = mapped_column(String(63))
    model_version: Mapped[int] = mapped_column(Integer)
    cause: Mapped[str] = mapped_column(String(500))
    report: Mapped[str] = mapped_column(String(500))
    # When the webhook took it; empty until then.
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FeedbackRow(Base):
    """One person's opinion of one prediction; a prediction may have several."""

    __tablename__ = "feedback"

    feedback_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    prediction_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), index=True)
    # Class names: one for a multi-class model, any number for a multi-label one.
    labels: Mapped[list[str]] = mapped_column(JsonObject)
    labelled_by: Mapped[str] = mapped_column(String(128))
    labelled_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    source: Mapped[str] = mapped_column(String(16))


class AccuracyRow(Base):
    """How often a version was right in a day or week of its predictions, and how often it was expected to be."""

    __tablename__ = "accuracy"

    model_name: Mapped[str] = mapped_column(String(63), primary_key=True)
    model_version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    period: Mapped[str] = mapped_column(String(8), primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    group_by: Mapped[str] = mapped_column(String(16), primary_key=True)
    class_name: Mapped[str] = mapped_column(String(100), primary_key=True)
    source: Mapped[str] = mapped_column(String(16), primary_key=True)
    n_predictions: Mapped[int] = mapped_column(Integer)
    n_labelled: Mapped[int] = mapped_column(Integer)
    n_right: Mapped[int] = mapped_column(Integer)
    n_disputed: Mapped[int] = mapped_column(Integer)
    accuracy: Mapped[float | None] = mapped_column(Float(53))
    accuracy_low: Mapped[float | None] = mapped_column(Float(53))
    accuracy_high: Mapped[float | None] = mapped_column(Float(53))
    expected_accuracy: Mapped[float | None] = mapped_column(Float(53))
    is_calibrated: Mapped[bool] = mapped_column(Boolean)
    delay_median_h: Mapped[float | None] = mapped_column(Float(53))
    delay_p90_h: Mapped[float | None] = mapped_column(Float(53))
    measured_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ReviewItemRow(Base):
    """One prediction that a person should look at."""

    __tablename__ = "review_items"

    prediction_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    model_name: Mapped[str] = mapped_column(String(63))
    model_version: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(String(16))
    score: Mapped[float] = mapped_column(Float(53))
    chosen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[str] = mapped_column(String(16))
    decided_by: Mapped[str | None] = mapped_column(String(128))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The data set version that took the labelled image in.
    dataset_tag: Mapped[str | None] = mapped_column(String(64))


Index("ix_review_items_open", ReviewItemRow.status, ReviewItemRow.chosen_at)


class RetrainingRow(Base):
    """One decision of the retraining policy, whether it fired or not."""

    __tablename__ = "retraining_decisions"

    seq: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=True)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    model_name: Mapped[str] = mapped_column(String(63))
    model_version: Mapped[int] = mapped_column(Integer)
    fired: Mapped[bool] = mapped_column(Boolean)
    reasons: Mapped[list[str]] = mapped_column(JsonObject)
    new_labels: Mapped[int] = mapped_column(Integer)
    dataset_tag: Mapped[str | None] = mapped_column(String(64))
    flow_run_id: Mapped[str | None] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(500))
