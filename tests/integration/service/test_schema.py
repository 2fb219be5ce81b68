"""What /openapi.json promises, tried out by schemathesis: no 5xx, and no answer that the document does not name."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi import checks

from tests.servers.dl_service import ServiceProcess

BOUNDED = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def try_out(operation: Any) -> None:
    @BOUNDED
    @given(case=operation.as_strategy())
    def keeps_its_promise(case: Any) -> None:
        # A schema cannot say which bytes are an image, nor which bundles there are.
        case.call_and_validate(timeout=30, excluded_checks=[checks.positive_data_acceptance])

    keeps_its_promise()


def test_every_operation_keeps_its_promise(service: ServiceProcess) -> None:
    api = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [found.ok() for found in api.get_all_operations()]
    broken: dict[str, str] = {}

    for operation in operations:
        try:
            try_out(operation)
        except BaseException as error:  # noqa: BLE001 - all of them are reported together
            broken[operation.label] = "\n".join([str(error), *getattr(error, "__notes__", ())])

    assert len(operations) >= 7
    assert broken == {}, "\n\n".join(f"{label}\n{text}" for label, text in broken.items())
    assert service.is_running
