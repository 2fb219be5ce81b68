"""API keys in real Postgres and SQLite, and the command that makes, lists and revokes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onsight.db import (
    Database,
    Scope,
    create_api_key,
    ensure_api_key,
    list_api_keys,
    revoke_api_key,
)
from onsight.errors import ConfigError, DependencyError
from services.dl_service.keys import main


@pytest.fixture(autouse=True)
def url(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database that the settings name."""
    monkeypatch.setenv("ONSIGHT_DATABASE_URL", empty_url)
    return empty_url


def test_create_keeps_a_hash_and_a_hint_alone(database: Database) -> None:
    text, key = create_api_key(database, "line-3", ["predict", "predict", "admin"])

    kept = list_api_keys(database)
    assert kept == [key]
    assert text.startswith(f"onsight_{key.key_id}_")
    assert len(text.split("_", 2)[2]) == 43
    assert key.hint == text[-4:]
    assert text not in repr(kept)
    assert key.scopes == {"predict", "admin"}
    assert key.allows("feedback")
    assert key.created_at.tzinfo is not None


def test_revoke_ends_a_key_once(database: Database) -> None:
    _, key = create_api_key(database, "line-3", ["predict"])
    _, other = create_api_key(database, "line-3", ["predict"])

    first = revoke_api_key(database, key.key_id)
    second = revoke_api_key(database, key.key_id)

    assert first.revoked_at is not None
    assert first == second
    assert list_api_keys(database, only_valid=True) == [other]
    assert len(list_api_keys(database)) == 2


def test_revoke_of_an_unknown_key_says_how_to_find_it(database: Database) -> None:
    with pytest.raises(ConfigError, match="'nobody'.*\n.*list"):
        revoke_api_key(database, "nobody")


@pytest.mark.parametrize("name", ["", " ", "-x", "a b", "x" * 64, "a/b", "line\n3"])
def test_create_with_an_odd_name_is_refused(database: Database, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        create_api_key(database, name, ["predict"])


def test_create_without_scopes_is_refused(database: Database) -> None:
    with pytest.raises(ConfigError, match="at least one scope"):
        create_api_key(database, "x", [])


def test_command_makes_lists_and_revokes(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "--name", "line-3", "--scope", "predict", "--scope", "feedback"]) == 0
    made = capsys.readouterr()
    text = made.out.strip()
    key_id = text.split("_")[1]
    assert made.out.count("\n") == 1
    assert "never shown again" in made.err

    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert key_id in listed
    assert "feedback,predict" in listed
    assert "valid" in listed
    assert text.split("_", 2)[2] not in listed

    assert main(["revoke", key_id]) == 0
    assert "is revoked" in capsys.readouterr().out
    main(["list"])
    assert "revoked 20" in capsys.readouterr().out
    assert main(["revoke", "nobody"]) == 2
    assert "there is no API key 'nobody'" in capsys.readouterr().err


def test_command_as_a_process_prints_the_key_alone(url: str) -> None:
    command = [sys.executable, "-m", "services.dl_service.keys", "create", "--name", "line-3", "--scope", "admin"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("onsight_")
    assert done.stderr.startswith("key ")
    assert done.stderr.count("\n") == 1


def test_command_when_the_database_is_down_exits_with_the_dependency_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONSIGHT_DATABASE_URL", "postgresql://someone@127.0.0.1:1/none")

    assert main(["list"]) == DependencyError.exit_code

    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["create"], ["create", "--name", "x"], ["create", "--scope", "root"]])
def test_command_line_that_is_wrong_exits_with_the_config_code(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == ConfigError.exit_code


KEY = f"onsight_{'a' * 12}_{'b' * 43}"
NEWER = f"onsight_{'c' * 12}_{'d' * 43}"


def test_ensure_registers_a_key_once_and_ends_the_former_of_its_name(database: Database) -> None:
    _, other = create_api_key(database, "line-3", ["predict"])

    assert ensure_api_key(database, "deploy", ["admin"], KEY)
    assert not ensure_api_key(database, "deploy", ["admin"], KEY)
    assert ensure_api_key(database, "deploy", ["admin"], NEWER)

    valid = {key.key_id for key in list_api_keys(database, only_valid=True)}
    assert valid == {other.key_id, "c" * 12}


@pytest.mark.parametrize(
    ("name", "scope", "text", "problem"),
    [
        ("deploy", "admin", "letmein", "is no API key"),
        ("deploy", "admin", f"onsight_{'a' * 12}_{'c' * 43}", "another secret"),
        ("deploy", "predict", KEY, "another secret, name or scopes"),
        ("web", "admin", KEY, "another secret, name or scopes"),
    ],
    ids=["no-key", "other-secret", "other-scope", "other-name"],
)
def test_ensure_refuses_what_is_not_the_known_key(
    database: Database, name: str, scope: Scope, text: str, problem: str
) -> None:
    ensure_api_key(database, "deploy", ["admin"], KEY)

    with pytest.raises(ConfigError, match=problem) as refused:
        ensure_api_key(database, name, [scope], text)

    assert text not in str(refused.value)
    assert [key.name for key in list_api_keys(database, only_valid=True)] == ["deploy"]


def test_ensure_does_not_revive_a_revoked_key(database: Database) -> None:
    ensure_api_key(database, "deploy", ["admin"], KEY)
    revoke_api_key(database, "a" * 12)

    with pytest.raises(ConfigError, match="was revoked"):
        ensure_api_key(database, "deploy", ["admin"], KEY)


def test_the_command_ensures_keys_of_files_without_showing_them(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deploy").write_text(f"{KEY}\n")

    codes = [main(["ensure", f"deploy=admin={tmp_path}/deploy"]) for _ in range(2)]

    shown = capsys.readouterr()
    assert codes == [0, 0]
    assert shown.out.splitlines() == ["key deploy is new", "key deploy is known"]
    assert KEY not in shown.out + shown.err


@pytest.mark.parametrize("given", ["deploy", "deploy=root=/dev/null", "deploy=admin=/no/such/file"])
def test_the_command_refuses_what_names_no_key_file(url: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensure", given]) == 2
    assert "keys: " in capsys.readouterr().err
