"""Structured log lines."""

from __future__ import annotations

import json
import logging
import sys

from services.dl_service.logs import JsonFormatter, current_request_id


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("name", logging.WARNING, __file__, 1, "said %s", ("this",), None)
    made.__dict__.update(extra)
    return made


def test_format_gives_one_json_object_with_fields_and_request_id() -> None:
    token = current_request_id.set("r-7")
    line = json.loads(JsonFormatter().format(record(fields={"status": 200})))
    current_request_id.reset(token)

    assert line["at"].endswith("+00:00")
    assert {name: line[name] for name in ("level", "logger", "message", "request_id", "status")} == {
        "level": "WARNING",
        "logger": "name",
        "message": "said this",
        "request_id": "r-7",
        "status": 200,
    }


def test_format_of_an_exception_stays_on_one_line() -> None:
    try:
        int("two\nlines")
    except ValueError:
        text = JsonFormatter().format(record(exc_info=sys.exc_info()))

    assert "\n" not in text
    assert "ValueError" in json.loads(text)["traceback"]
    assert "request_id" not in json.loads(text)
