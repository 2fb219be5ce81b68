"""Makes, lists and revokes API keys: ``python -m services.dl_service.keys create --name line-3 --scope predict``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onsight.db import (
    SCOPES,
    ApiKey,
    Database,
    Scope,
    create_api_key,
    ensure_api_key,
    list_api_keys,
    open_database,
    revoke_api_key,
    upgrade,
)
from onsight.errors import ConfigError, OnsightError
from onsight.settings import Settings

_PROGRAM = "python -m services.dl_service.keys"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; answers the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        database = open_database(Settings().predictions_database_url)
        try:
            upgrade(database)
            _run(asked, database)
        finally:
            database.close()
    except OnsightError as error:
        print(f"keys: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="API keys of dl_service, kept in the predictions database (ONSIGHT_DATABASE_URL)."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key; it is shown once, on standard output")
    create.add_argument("--name", required=True, help="what or whom it is for, such as line-3")
    create.add_argument(
        "--scope", required=True, action="append", choices=SCOPES, help="may be given several times; admin may do all"
    )
    ensure = commands.add_parser("ensure", help="make keys of files the only valid ones of their names")
    ensure.add_argument(
        "keys", nargs="+", metavar="NAME=SCOPES=FILE", help="such as ann=predict,feedback=/run/secrets/ann_api_key"
    )
    commands.add_parser("list", help="the keys, without their secrets")
    revoke = commands.add_parser("revoke", help="end a key's validity, within seconds and for good")
    revoke.add_argument("key_id", metavar="KEY_ID", help="the first column of `list`")
    return parser


def _run(asked: argparse.Namespace, database: Database) -> None:
    if asked.command == "create":
        text, key = create_api_key(database, asked.name, asked.scope)
        print(f"key {key.key_id} for {key.name}; keep it now, it is never shown again:", file=sys.stderr)
        print(text)
    elif asked.command == "ensure":
        for given in asked.keys:
            name, scopes, text = _read_given(given)
            is_new = ensure_api_key(database, name, scopes, text)
            print(f"key {name} is {'new' if is_new else 'known'}")
    elif asked.command == "revoke":
        key = revoke_api_key(database, asked.key_id)
        print(f"key {key.key_id} of {key.name} is revoked; services stop to take it within seconds")
    else:
        for line in _table(list_api_keys(database)):
            print(line)


def _read_given(given: str) -> tuple[str, list[Scope], str]:
    name, asked, path = (*given.split("=", 2), "", "")[:3]
    scopes = [scope for scope in SCOPES if scope in asked.split(",")]
    if len(scopes) != len(asked.split(",")) or not path:
        raise ConfigError(f"{given!r} is not NAME=SCOPE[,SCOPE]=FILE", f"scopes are {', '.join(SCOPES)}")
    try:
        return name, scopes, Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key file {path} cannot be read: {error}", "run make init first") from error


def _table(keys: list[ApiKey]) -> list[str]:
    rows = [("KEY_ID", "NAME", "ENDS IN", "SCOPES", "CREATED", "STATE")]
    for key in keys:
        state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "valid"
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        rows.append((key.key_id, key.name, key.hint, ",".join(sorted(key.scopes)), created, state))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


if __name__ == "__main__":
    sys.exit(main())
