"""What the plan says of the flows that look after a model in production."""

from __future__ import annotations

from onsight.config import (
    MonitorConfig,
    MonitorFlowConfig,
    RetentionFlowConfig,
    RetrainingConfig,
    ReviewFlowConfig,
    RowRetention,
)
from onsight.settings import Settings

__all__ = ["retraining_policy", "upkeep_stages"]


def upkeep_stages(
    config: MonitorFlowConfig | ReviewFlowConfig | RetentionFlowConfig, settings: Settings
) -> list[tuple[str, str]]:
    """Name and description of each stage of a flow that looks after a model in production."""
    if isinstance(config, MonitorFlowConfig):
        return _monitor_stages(config.monitor, settings)
    if isinstance(config, ReviewFlowConfig):
        review = config.review
        what = f"up to {review.budget} waiting items, from the {review.window_size} newest predictions"
        return [("review queue", what)]
    return _retention_stages(config)


def _retention_stages(config: RetentionFlowConfig) -> list[tuple[str, str]]:
    rows, versions, runs = config.rows, config.versions, config.runs
    verb = "removes" if config.apply else "only reports"
    return [
        ("images", "a list of those that the archive's clean-up passes over"),
        ("rows", _row_ages(verb, rows)),
        ("drift reports", f"{verb} those older than {rows.drift_results_days:g} days, but those of alerts"),
        ("versions", f"{verb} those older than {versions.days:g} days, but {versions.keep_newest} of each model"),
        ("runs", f"{verb} those older than {runs.days:g} days, but {runs.keep_newest} of each name"),
    ]


def _row_ages(verb: str, rows: RowRetention) -> str:
    return (
        f"{verb} predictions after {rows.predictions_days:g} days, api_log after {rows.api_log_days:g}, "
        f"drift_results after {rows.drift_results_days:g}"
    )


def retraining_policy(config: RetrainingConfig) -> str:
    """When it trains again, in a sentence."""
    triggers = ["confirmed drift"] if config.drift_confirmed else []
    triggers += [f"{config.new_labels} new labels"] if config.new_labels else []
    return f"trains on {config.when} of: {', '.join(triggers)}; cool-down {config.cool_down_h:g} h"


def _monitor_stages(config: MonitorConfig, settings: Settings) -> list[tuple[str, str]]:
    window, alert = config.window, config.alert
    told = "posted to the webhook" if settings.alert_webhook_url.get_secret_value() else "no webhook is set"
    return [
        ("window", f"the {window.max_rows} newest predictions of the served version, of {window.hours:g} hours"),
        ("drift tests", f"alarm for nothing in at most {config.false_alarm_rate:g} of the runs"),
        (
            "evidence",
            f"database, Prefect artifact; a drift's report in central storage and MLflow experiment {config.exp_name}",
        ),
        (
            "alert",
            f"drift in {alert.drifted} of {alert.of_last} verdicts, once in {alert.cool_down_hours:g} hours; {told}",
        ),
    ]
