"""Keys in memory: who is let in, what a revoked key still opens, and what is known while the database is down."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onsight.db import Database, create_api_key, open_database, revoke_api_key, upgrade
from services.dl_service.errors import ForbiddenError, UnauthorizedError
from services.dl_service.key_ring import KeyRing
from tests.servers.dl_service import wait_until


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/predictions.db")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "dl_service" / "api_keys.json"


@pytest.fixture
def down() -> Iterator[Database]:
    opened = open_database("postgresql://someone@127.0.0.1:1/none")
    yield opened
    opened.close()


@pytest.fixture
def make_ring(memory: Path) -> Iterator[Callable[[Database], KeyRing]]:
    made: list[KeyRing] = []

    def make(database: Database) -> KeyRing:
        ring = KeyRing(database, memory, refresh_s=0.05)
        ring.start()
        made.append(ring)
        return ring

    yield make
    for ring in made:
        ring.close()


def bearer(text: str) -> bytes:
    return f"Bearer {text}".encode()


def test_authorize_takes_either_header(database: Database, make_ring: Callable[[Database], KeyRing]) -> None:
    text, _ = create_api_key(database, "line-3", ["predict"])
    ring = make_ring(database)

    assert ring.authorize(bearer(text), None, "predict") == "line-3"
    assert ring.authorize(b"bearer   " + text.encode(), None, "predict") == "line-3"
    assert ring.authorize(None, text.encode(), "predict") == "line-3"
    assert ring.authorize(b"Basic dTpw", text.encode(), "predict") == "line-3"


def test_authorize_by_scope(database: Database, make_ring: Callable[[Database], KeyRing]) -> None:
    predict, _ = create_api_key(database, "line-3", ["predict", "feedback"])
    admin, _ = create_api_key(database, "deploy", ["admin"])
    ring = make_ring(database)

    assert ring.authorize(bearer(predict), None, "feedback") == "line-3"
    assert [ring.authorize(bearer(admin), None, scope) for scope in ("predict", "feedback", "admin")] == ["deploy"] * 3
    with pytest.raises(ForbiddenError, match="may feedback, predict; this asks for admin"):
        ring.authorize(bearer(predict), None, "admin")


@pytest.mark.parametrize(
    "wrong",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer x", b"Bearer onsight_", b"Basic x", b"Bearer \xff\xfe_a_b"],
)
def test_authorize_without_a_key_refuses(
    database: Database, make_ring: Callable[[Database], KeyRing], wrong: bytes | None
) -> None:
    create_api_key(database, "line-3", ["predict"])

    with pytest.raises(UnauthorizedError):
        make_ring(database).authorize(wrong, None, "predict")


def test_authorize_of_a_key_that_is_nearly_right_refuses(
    database: Database, make_ring: Callable[[Database], KeyRing]
) -> None:
    text, key = create_api_key(database, "line-3", ["predict"])
    ring = make_ring(database)

    for wrong in (text[:-1], text + "A", text.swapcase(), f"onsight_{key.key_id}_", key.sha256, f"x_{text[8:]}"):
        with pytest.raises(UnauthorizedError, match="not valid"):
            ring.authorize(bearer(wrong), None, "predict")


def test_revoked_and_new_keys_are_noticed_in_the_background(
    database: Database, make_ring: Callable[[Database], KeyRing]
) -> None:
    text, key = create_api_key(database, "line-3", ["predict"])
    ring = make_ring(database)
    assert ring.authorize(bearer(text), None, "predict") == "line-3"

    revoke_api_key(database, key.key_id)
    wait_until(lambda: len(ring) == 0)

    with pytest.raises(UnauthorizedError, match="not valid"):
        ring.authorize(bearer(text), None, "predict")
    create_api_key(database, "line-4", ["predict"])
    wait_until(lambda: len(ring) == 1)


def test_restart_while_the_database_is_down_knows_the_keys(
    database: Database, down: Database, memory: Path, make_ring: Callable[[Database], KeyRing]
) -> None:
    text, key = create_api_key(database, "line-3", ["predict"])
    gone, revoked = create_api_key(database, "old", ["predict"])
    revoke_api_key(database, revoked.key_id)
    make_ring(database)

    ring = make_ring(down)

    assert ring.authorize(bearer(text), None, "predict") == "line-3"
    with pytest.raises(UnauthorizedError):
        ring.authorize(bearer(gone), None, "predict")
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    assert text not in memory.read_text()
    assert key.sha256 in memory.read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": [{"key_id": 1}]}', '{"keys": 7}', json.dumps({})])
def test_broken_memory_lets_nobody_in(
    down: Database, memory: Path, make_ring: Callable[[Database], KeyRing], content: str
) -> None:
    memory.parent.mkdir()
    memory.write_text(content)

    with pytest.raises(UnauthorizedError):
        make_ring(down).authorize(b"Bearer onsight_1_x", None, "predict")


def test_without_any_key_it_says_how_to_make_one(
    database: Database, make_ring: Callable[[Database], KeyRing], caplog: pytest.LogCaptureFixture
) -> None:
    make_ring(database)

    assert "python -m services.dl_service.keys create" in caplog.text
