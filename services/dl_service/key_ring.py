"""The API keys that are valid now, in memory: read again every two seconds, remembered for a database that is down."""

from __future__ import annotations

import hmac
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from onsight.db import ApiKey, Database, Scope, list_api_keys, upgrade
from onsight.db.api_keys import hash_api_key
from onsight.errors import DependencyError, OnsightError
from services.dl_service.errors import ForbiddenError, UnauthorizedError

__all__ = ["KeyRing"]

_LOG = logging.getLogger(__name__)
_REFRESH_S = 2.0
_BEARER = b"bearer "
_LONGEST_KEY = 256
_INVALID_HINT = "one made just now is valid within two seconds; an older one may have been revoked: ask for a new one"
_HINT = "send the header 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"


@dataclass(frozen=True)
class _Entry:
    """What is needed of a key to check it."""

    key_id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        return cls(key.key_id, key.name, key.sha256, tuple(sorted(key.scopes)))

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class KeyRing:
    """Checks keys without asking the database. A revoked key stops to work within seconds, while the database is up.

    Args:
        memory: A file for the hashes; several processes may share it.
    """

    def __init__(self, database: Database, memory: Path, refresh_s: float = _REFRESH_S) -> None:
        self._database = database
        self._memory = memory
        self._refresh_s = refresh_s
        self._is_schema_ready = False
        self._was_failing = False
        self._entries = _recall(memory)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-ring", daemon=True)

    def __len__(self) -> int:
        return len(self._entries)

    def start(self) -> None:
        """Reads the keys, then again and again in the background."""
        self.refresh()
        if not self._entries:
            _LOG.warning("no API key is valid: make one with `python -m services.dl_service.keys create`")
        self._thread.start()

    def close(self) -> None:
        """Ends the background reading."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def authorize(self, authorization: bytes | None, x_api_key: bytes | None, scope: Scope) -> str:
        """The name of the key that came with a request.

        Args:
            authorization: The header of that name; a scheme other than Bearer is passed over.
            x_api_key: The header ``X-API-Key``, for clients that cannot set the other one.

        Raises:
            UnauthorizedError: No key, or none that is valid.
            ForbiddenError: The key may not do this.
        """
        text = _key_of(authorization, x_api_key)
        if text is None:
            raise UnauthorizedError("the request carries no API key", _HINT)
        entry = self._find(text)
        if entry is None:
            raise UnauthorizedError("the API key is not valid", _INVALID_HINT)
        if not entry.allows(scope):
            raise ForbiddenError(
                f"the API key {entry.name!r} may {', '.join(entry.scopes)}; this asks for {scope}",
                f"use a key with the scope {scope}",
                key_id=entry.key_id,
            )
        return entry.name

    def refresh(self) -> bool:
        """Reads the valid keys; answers whether the database gave them. When it does not, the known ones stay."""
        try:
            if not self._is_schema_ready:
                upgrade(self._database)
                self._is_schema_ready = True
            entries = _by_id(_Entry.of(key) for key in list_api_keys(self._database, only_valid=True))
        except OnsightError as error:
            self._note_failure(error)
            return False
        if self._was_failing:
            _LOG.info("the API keys can be read again")
        self._was_failing = False
        if entries != self._entries or not self._memory.exists():
            self._entries = entries
            _remember(self._memory, entries)
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._refresh_s):
            try:
                self.refresh()
            except Exception:  # noqa: BLE001 - the thread outlives whatever a driver comes up with
                _LOG.exception("the API keys could not be read")

    def _find(self, text: bytes) -> _Entry | None:
        parts = text.split(b"_", 2)
        if len(parts) != len(("onsight", "id", "secret")) or len(text) > _LONGEST_KEY:
            return None
        entry = self._entries.get(parts[1])
        if entry is None or not hmac.compare_digest(hash_api_key(text), entry.sha256):
            return None
        return entry

    def _note_failure(self, error: OnsightError) -> None:
        if not self._was_failing:
            known = "the known ones stay valid" if isinstance(error, DependencyError) else "see the database's log"
            _LOG.warning("the API keys cannot be read, %s: %s", known, error.message)
        self._was_failing = True


def _key_of(authorization: bytes | None, x_api_key: bytes | None) -> bytes | None:
    if authorization is not None and authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return x_api_key.strip() if x_api_key else None


def _by_id(entries: Iterable[_Entry]) -> Mapping[bytes, _Entry]:
    return {entry.key_id.encode(): entry for entry in entries}


def _remember(path: Path, entries: Mapping[bytes, _Entry]) -> None:
    """Replaces the file in one step; a disk that fails costs the memory alone."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"keys": [vars(entry) for entry in entries.values()]}, file)
        fresh.replace(path)
    except OSError as error:
        _LOG.warning("the API keys cannot be remembered in %s: %s", path, error.strerror)


def _recall(path: Path) -> Mapping[bytes, _Entry]:
    try:
        kept = json.loads(path.read_text())["keys"]
        return _by_id(_Entry(**{**values, "scopes": tuple(values["scopes"])}) for values in kept)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning("the API keys remembered in %s cannot be read: %s", path, error)
        return {}
