"""Down and up again, and a backup that is restored into an empty stack: everything is still there."""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.servers.dl_service import wait_until
from tests.servers.stack import Stack


@pytest.mark.usefixtures("served_model")
def test_everything_is_there_after_down_and_up(stack: Stack, door: httpx.Client, photograph: bytes) -> None:
    before = _predict(stack, door, photograph)
    stack.compose("down")
    stack.compose("up", "-d")
    stack.wait()

    _assert_is_there(stack, door, photograph, before)


@pytest.mark.slow
@pytest.mark.usefixtures("served_model")
def test_a_backup_brings_everything_into_an_empty_stack(
    stack: Stack, door: httpx.Client, photograph: bytes, tmp_path: Path
) -> None:
    before = _predict(stack, door, photograph)
    with _uploads(stack, photograph) as statuses:
        _assert_done(_script(stack, "backup", tmp_path / "backup"))
    assert set(statuses) == {200}
    stack.compose("down", "--volumes")
    stack.compose("up", "-d")
    stack.wait()
    assert door.get("/readyz").status_code == 503

    _assert_done(_script(stack, "restore", tmp_path / "backup"))

    _assert_is_there(stack, door, photograph, before)
    image = door.get(f"/predictions/{before['prediction_id']}/image")
    assert image.content == photograph


@pytest.mark.slow
def test_a_damaged_backup_is_refused_before_anything_is_touched(stack: Stack, tmp_path: Path) -> None:
    _assert_done(_script(stack, "backup", tmp_path / "backup"))
    dump = tmp_path / "backup" / "prefect.dump"
    dump.write_bytes(dump.read_bytes()[:-1])

    done = _script(stack, "restore", tmp_path / "backup")

    assert done.returncode == 2
    assert "damaged: nothing was restored" in done.stderr
    stack.wait()


@contextmanager
def _uploads(stack: Stack, photograph: bytes) -> Iterator[list[int]]:
    """Keeps writing new images to the archive for the length of the block; the statuses that came back."""
    statuses: list[int] = []
    stop = threading.Event()

    def upload() -> None:
        with stack.client("web_api_key") as door:
            for number in itertools.count():
                if stop.is_set():
                    return
                # What follows a PNG's end makes another file of the same picture.
                content = photograph + number.to_bytes(4, "big")
                statuses.append(door.post("/predict", content=content).status_code)

    sender = threading.Thread(target=upload)
    sender.start()
    try:
        wait_until(lambda: len(statuses) > 10)
        yield statuses
    finally:
        stop.set()
        sender.join()


def _script(stack: Stack, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", f"services/{name}.sh", str(folder)]
    return subprocess.run(command, cwd=stack.root, capture_output=True, text=True, check=False)


def _assert_done(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def _predict(stack: Stack, door: httpx.Client, photograph: bytes) -> dict[str, object]:
    response = door.post("/predict", content=photograph)
    answer = dict(response.raise_for_status().json())
    wait_until(lambda: _is_on_record(stack, answer))
    return answer | {"counts": _counts(stack)}


def _is_on_record(stack: Stack, answer: dict[str, object]) -> bool:
    return stack.rows(f"SELECT count(*) FROM predictions WHERE prediction_id = '{answer['prediction_id']}'") == "1"


def _counts(stack: Stack) -> dict[str, str]:
    """What the tools' own databases hold, and the model's versions that can be served."""
    tables = {"mlflow": "runs", "prefect": "deployment"}
    held = {table: stack.rows(f"SELECT count(*) FROM {table}", base) for base, table in tables.items()}
    return held | {"bundles": stack.compose("exec", "-T", "dl_service", "ls", "/central_storage/models")}


def _assert_is_there(stack: Stack, door: httpx.Client, photograph: bytes, before: dict[str, object]) -> None:
    after = _predict(stack, door, photograph)
    assert after["model_version"] == before["model_version"]
    assert _is_on_record(stack, before)
    assert _counts(stack) == before["counts"]
