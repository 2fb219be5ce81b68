"""API keys: long random secrets of which the database keeps a hash alone, each allowed to do some things.

A key reads ``onsight_<key_id>_<secret>``. The secret has 256 random bits, so that one SHA-256 guards it as well as a
slow password hash would, and a request costs microseconds.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from sqlalchemy import Insert, Row, insert, select, update

from onsight.db.engine import Database
from onsight.db.tables import ApiKeyRow
from onsight.errors import ConfigError

__all__ = [
    "SCOPES",
    "ApiKey",
    "Scope",
    "create_api_key",
    "ensure_api_key",
    "hash_api_key",
    "list_api_keys",
    "revoke_api_key",
]

Scope = Literal["predict", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TEXT = re.compile(r"onsight_(?P<key_id>[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_ID_BYTES = 6
_SECRET_BYTES = 32
_HINT_CHARACTERS = 4


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key.

    Attributes:
        name: Of what or whom the key was made for; not unique, so that a key can be replaced by a newer one.
        sha256: Hexadecimal, of the whole key.
        hint: The key's last four characters, for a person who holds several.
        revoked_at: UTC; None while the key is valid.
    """

    key_id: str
    name: str
    sha256: str
    hint: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key may do it; ``admin`` may do all."""
        return scope in self.scopes or "admin" in self.scopes


def create_api_key(database: Database, name: str, scopes: Iterable[Scope]) -> tuple[str, ApiKey]:
    """Makes a key; its text exists nowhere but in the answer.

    Returns:
        The key's text, and what is kept of it.

    Raises:
        ConfigError: The name or the scopes are wrong.
        DependencyError: The database does not answer; no key was made.
    """
    key_id = secrets.token_hex(_ID_BYTES)
    text = f"onsight_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    key = _new_key(key_id, text, name, scopes)
    with database.transaction() as connection:
        connection.execute(_insertion(key))
    return text, key


def ensure_api_key(database: Database, name: str, scopes: Iterable[Scope], text: str) -> bool:
    """Makes a key that was made elsewhere the only valid one of its name; does nothing where it is that already.

    Args:
        text: The whole key.

    Returns:
        Whether the key was new.

    Raises:
        ConfigError: The text is no key, another key has its identifier or it was revoked; nothing was changed.
        DependencyError: The database does not answer; nothing was changed.
    """
    parts = _TEXT.fullmatch(text)
    if parts is None:
        raise ConfigError(f"the text given for {name[:80]!r} is no API key", "delete its file, then make init")
    key = _new_key(parts["key_id"], text, name, scopes)
    with database.transaction() as connection:
        row = connection.execute(select(ApiKeyRow.__table__).where(ApiKeyRow.key_id == key.key_id)).one_or_none()
        known = _api_key(row) if row else None
        if known is None:
            connection.execute(_insertion(key))
        elif known.revoked_at or (known.sha256, known.name, known.scopes) != (key.sha256, key.name, key.scopes):
            state = "was revoked" if known.revoked_at else "is known with another secret, name or scopes"
            raise ConfigError(f"the API key {key.key_id} {state}", "make a new one: delete its file, then make init")
        former = (ApiKeyRow.name == name) & (ApiKeyRow.key_id != key.key_id) & ApiKeyRow.revoked_at.is_(None)
        connection.execute(update(ApiKeyRow).where(former).values(revoked_at=datetime.now(UTC)))
    return known is None


def list_api_keys(database: Database, *, only_valid: bool = False) -> list[ApiKey]:
    """The keys, oldest first.

    Raises:
        DependencyError: The database does not answer.
    """
    query = select(ApiKeyRow.__table__).order_by(ApiKeyRow.created_at, ApiKeyRow.key_id)
    if only_valid:
        query = query.where(ApiKeyRow.revoked_at.is_(None))
    with database.transaction() as connection:
        return [_api_key(row) for row in connection.execute(query)]


def revoke_api_key(database: Database, key_id: str) -> ApiKey:
    """Ends a key's validity for good; a key that was revoked before keeps its time.

    Raises:
        ConfigError: There is no such key.
        DependencyError: The database does not answer.
    """
    wanted = ApiKeyRow.key_id == key_id
    with database.transaction() as connection:
        valid = wanted & ApiKeyRow.revoked_at.is_(None)
        connection.execute(update(ApiKeyRow).where(valid).values(revoked_at=datetime.now(UTC)))
        row = connection.execute(select(ApiKeyRow.__table__).where(wanted)).one_or_none()
    if row is None:
        raise ConfigError(f"there is no API key {key_id[:80]!r}", "list them: python -m services.dl_service.keys list")
    return _api_key(row)


def _new_key(key_id: str, text: str, name: str, scopes: Iterable[Scope]) -> ApiKey:
    asked = frozenset(scopes)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name[:80]!r} is no name of a key", "use up to 63 letters, digits, '.', '_' and '-'")
    if not asked or not asked <= set(SCOPES):
        raise ConfigError("a key needs at least one scope", f"choose from {', '.join(SCOPES)}")
    return ApiKey(key_id, name, hash_api_key(text.encode()), text[-_HINT_CHARACTERS:], asked, datetime.now(UTC))


def _insertion(key: ApiKey) -> Insert:
    return insert(ApiKeyRow).values({**vars(key), "scopes": " ".join(sorted(key.scopes))})


def hash_api_key(text: bytes) -> str:
    """SHA-256 of a key's text, hexadecimal."""
    return hashlib.sha256(text).hexdigest()


def _api_key(row: Row[tuple[object, ...]]) -> ApiKey:
    values = dict(row._mapping)
    return ApiKey(**{**values, "scopes": frozenset(str(values["scopes"]).split())})
