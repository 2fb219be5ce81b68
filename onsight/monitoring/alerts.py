"""Telling people of a confirmed drift: one JSON document, posted to the webhook that the settings name."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from onsight.db import DriftAlertRecord
from onsight.errors import ConfigError, DependencyError

__all__ = ["Webhook", "alert_document"]

_ATTEMPTS = 3
_PAUSE_S = 1.0
_SERVER_ERRORS = 500


def alert_document(alert: DriftAlertRecord, p_value: float | None, links: dict[str, str]) -> dict[str, Any]:
    """The JSON that a webhook gets.

    Args:
        alert: What is told.
        p_value: Of the combined verdict.
        links: Name to address, such as MLflow's run.

    Returns:
        ``text`` is a message for people, which chat services show; the rest is for programs.
    """
    bundle = f"{alert.model_name}-v{alert.model_version}"
    return {
        "text": f"Onsight: {bundle}: {alert.cause}. Report: {alert.report}",
        "alert": "DriftConfirmed",
        "run_id": alert.run_id,
        "raised_at": alert.raised_at.isoformat(),
        "model_name": alert.model_name,
        "model_version": alert.model_version,
        "cause": alert.cause,
        "p_value": p_value,
        "report": alert.report,
        "links": links,
    }


@dataclass(frozen=True)
class Webhook:
    """Where alerts are posted.

    Attributes:
        url: May hold a token: it appears in no message.
        timeout_s: For one attempt.
        pause_s: Between two attempts.
    """

    url: SecretStr
    timeout_s: float
    pause_s: float = _PAUSE_S

    def post(self, document: dict[str, Any]) -> None:
        """Post a document; tried three times. One that was taken may arrive twice if its answer was lost.

        Raises:
            ConfigError: The address is none, or its server refuses the document.
            DependencyError: Its server does not take the document.
        """
        problem = ""
        for attempt in range(_ATTEMPTS):
            time.sleep(self.pause_s if attempt else 0)
            try:
                answer = httpx.post(self.url.get_secret_value(), json=document, timeout=self.timeout_s)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol):
                raise ConfigError(
                    "ONSIGHT_ALERT_WEBHOOK_URL is no http address", hint="it looks like https://chat.example/hooks/..."
                ) from None
            except httpx.TransportError as error:
                problem = type(error).__name__
                continue
            if answer.is_success:
                return
            problem = f"status {answer.status_code}"
            if answer.status_code < _SERVER_ERRORS:
                raise ConfigError(
                    f"the alert webhook refuses the alert: {problem}", hint="check ONSIGHT_ALERT_WEBHOOK_URL"
                )
        raise DependencyError(
            f"the alert webhook does not take the alert: {problem}", hint="the next run of the monitor tries again"
        )
