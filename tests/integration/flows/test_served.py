"""Which version is watched, and by how many runs at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.variables import Variable

from onsight.config import PrefectDeploymentConfig
from onsight.db import open_database, record_desired, record_rollback, upgrade
from onsight.errors import DependencyError
from onsight.settings import Settings
from tasks.deploy import schedule_monitor
from tasks.served import served_metadata_file

NAME = "current_model_metadata_file"


@pytest.fixture(autouse=True)
def prefect(prefect_api_url: str) -> Iterator[None]:
    """A Prefect server in which nothing was deployed."""
    with temporary_settings({PREFECT_API_URL: prefect_api_url}):
        if Variable.get(NAME):
            Variable.unset(NAME)
        yield


def test_served_metadata_file_when_an_update_was_taken_back_then_is_the_version_before(settings: Settings) -> None:
    Variable.set(NAME, "models/cells-v2.yaml", overwrite=True)
    with closing(open_database(settings.predictions_database_url)) as database:
        upgrade(database)
        record_desired(database, "cells", 1, requested_by="deploy flow", reason="")
        update = record_desired(database, "cells", 2, requested_by="deploy flow", reason="")
        assert served_metadata_file(settings) == "models/cells-v2.yaml"

        record_rollback(database, update, requested_by="kim", reason="wrong answers")
        assert served_metadata_file(settings) == "models/cells-v1.yaml"

        record_desired(database, "cells", 7, requested_by="kim", reason="PUT /update_model")
        assert served_metadata_file(settings) == "models/cells-v7.yaml"


def test_served_metadata_file_when_the_database_names_none_then_is_the_deploy_flows(settings: Settings) -> None:
    with pytest.raises(DependencyError, match="no model was deployed yet"):
        served_metadata_file(settings)

    Variable.set(NAME, "models/cells-v2.yaml", overwrite=True)
    assert served_metadata_file(settings) == "models/cells-v2.yaml"


def test_schedule_monitor_when_runs_are_late_then_they_go_one_by_one(settings: Settings) -> None:
    schedule_monitor.fn("cells-v2", PrefectDeploymentConfig(deployment_name="one-by-one"))

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("drift-monitor/one-by-one")
    assert deployment.global_concurrency_limit is not None
    assert deployment.global_concurrency_limit.limit == 1
