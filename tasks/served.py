"""Which version is watched: the one that dl_service was last asked to serve, whoever asked."""

from __future__ import annotations

from contextlib import closing

from prefect.variables import Variable

from onsight.bundle import metadata_key
from onsight.db import newest_desired, open_database, upgrade
from onsight.errors import DependencyError
from onsight.settings import Settings

__all__ = ["served_metadata_file"]


def served_metadata_file(settings: Settings) -> str:
    """The metadata file of the version in production.

    Rollbacks and updates over HTTP are in the database alone. The Prefect variable of the deploy flow stands in for a
    database that holds no wish.

    Raises:
        DependencyError: Nothing was deployed yet, or the database does not answer.
    """
    with closing(open_database(settings.predictions_database_url)) as database:
        # The service makes the tables too, but it may be of an older release, or not have run yet.
        upgrade(database)
        wish = newest_desired(database)
    if wish is not None:
        return metadata_key(wish.bundle_name)
    metadata_file = Variable.get("current_model_metadata_file")
    if not metadata_file:
        raise DependencyError("no model was deployed yet", hint="run the deploy flow first")
    return str(metadata_file)
