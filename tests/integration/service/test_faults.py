"""What is acknowledged is on record exactly once in the end: through kill -9, and while Postgres is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sqlalchemy import select

from onsight.db import Database, open_database
from onsight.db.tables import ApiCallRow, PredictionRow
from tests.servers.bundle import BundleStore
from tests.servers.dl_service import ServiceProcess, wait_until
from tests.servers.postgres import PostgresServer
from tests.servers.traffic import Traffic, background_traffic


def logged(database: Database) -> Counter[str]:
    with database.transaction() as connection:
        return Counter(connection.execute(select(PredictionRow.prediction_id)).scalars())


def calls(database: Database) -> Counter[str]:
    query = select(ApiCallRow.request_id).where(ApiCallRow.route == "/predict", ApiCallRow.status == 200)
    with database.transaction() as connection:
        return Counter(connection.execute(query).scalars())


def assert_all_logged_once(database: Database, traffic: Traffic) -> None:
    acknowledged = {answer["prediction_id"] for answer in traffic.acknowledged}
    wait_until(lambda: acknowledged <= set(logged(database)))
    wait_until(lambda: sum(calls(database).values()) >= len(acknowledged))
    rows = logged(database)
    assert set(rows.values()) == {1}
    # Only a request that was cut off by a kill may be on record without its client knowing.
    assert len(acknowledged) <= len(rows) <= len(acknowledged) + traffic.broken
    assert set(calls(database).values()) == {1}


def test_kill_under_load_then_restart_loses_and_doubles_nothing(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess], postgres_url: str
) -> None:
    # A long interval, so that the kill always finds records that were not shipped.
    service = make_service(
        ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url,
        ONSIGHT_DATABASE_URL=postgres_url,
        ONSIGHT_OUTBOX_INTERVAL_S="0.6",
    )
    service.start()
    service.deploy(bundle_store.first)
    with background_traffic(service.url) as traffic:
        for _ in range(2):
            before = len(traffic.acknowledged)
            wait_until(lambda before=before: len(traffic.acknowledged) > before + 60)  # type: ignore[misc]
            service.kill()
            service.start()
        before = len(traffic.acknowledged)
        wait_until(lambda: len(traffic.acknowledged) > before + 20)

    database = open_database(postgres_url)
    assert_all_logged_once(database, traffic)
    database.close()
    assert traffic.refused == []


def test_postgres_away_under_load_fails_no_prediction_and_loses_none(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess], stoppable_postgres: PostgresServer
) -> None:
    url = stoppable_postgres.create_database()
    service = make_service(ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_DATABASE_URL=url)
    service.start()
    service.deploy(bundle_store.first)
    with background_traffic(service.url) as traffic:
        for step in (stoppable_postgres.stop, stoppable_postgres.start):
            before = len(traffic.acknowledged)
            wait_until(lambda before=before: len(traffic.acknowledged) > before + 60)  # type: ignore[misc]
            step()
        before = len(traffic.acknowledged)
        wait_until(lambda: len(traffic.acknowledged) > before + 60)

    database = open_database(url)
    assert_all_logged_once(database, traffic)
    database.close()
    assert (traffic.refused, traffic.broken) == ([], 0)


def test_stop_in_good_order_ships_everything(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess], postgres_url: str
) -> None:
    service = make_service(
        ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url, ONSIGHT_DATABASE_URL=postgres_url, ONSIGHT_OUTBOX_INTERVAL_S="60"
    )
    service.start()
    service.deploy(bundle_store.first)
    with background_traffic(service.url) as traffic:
        wait_until(lambda: len(traffic.acknowledged) > 20)

    service.stop()

    database = open_database(postgres_url)
    assert set(logged(database)) >= {answer["prediction_id"] for answer in traffic.acknowledged}
    database.close()
    assert list((service.state_dir / "dl_service" / "outbox").iterdir()) == []
