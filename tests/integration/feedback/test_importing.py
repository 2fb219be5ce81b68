"""Labels from CSV files, into real Postgres and SQLite, checked against real bundles."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onsight.bundle import read_metadata
from onsight.bundle.metadata import dump_metadata
from onsight.db import Database, PredictionRecord, insert_records, read_opinions, uuid7
from onsight.errors import DatasetError
from onsight.feedback import ImportReport, import_opinions
from onsight.feedback.__main__ import main
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store
from tests.servers.bundle import BundleStore

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
WHO = "who labelled must be 1 to 128 characters, without control characters"
HEADER = "prediction_id,label,who,when"


@pytest.fixture(autouse=True)
def url(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database that the settings name."""
    monkeypatch.setenv("ONSIGHT_DATABASE_URL", empty_url)
    return empty_url


@pytest.fixture
def store(bundle_store: BundleStore) -> ArtifactStore:
    """Holds cells-v1, multi-class, and marks-v1, whose metadata alone is there, multi-label."""
    opened = open_store(Settings(central_storage_url=bundle_store.url))
    if not opened.exists("models/marks-v1.yaml"):
        cells = read_metadata(opened, bundle_store.first)
        marks = replace(cells, model_name="marks", classifier_type="multi-label", classes=("dirt", "a|b", "crack"))
        opened.put_bytes("models/marks-v1.yaml", dump_metadata(marks))
    return opened


def predicted(database: Database, model_name: str = "cells") -> str:
    """A prediction on record."""
    record = PredictionRecord(
        prediction_id=uuid7(),
        request_id="request",
        model_name=model_name,
        model_version=1,
        created_at=NOON,
        probabilities=[0.2, 0.1, 0.7],
        top_class="broken",
        confidence=0.7,
        uae_feats=[0.1],
        bbsd_feats=[0.2, 0.1, 0.7],
        image_sha256="0" * 64,
        image_bytes=1000,
        image_width=300,
        image_height=200,
        image_format="PNG",
        client="127.0.0.1",
        timings_ms={},
    )
    insert_records(database, [record])
    return record.prediction_id


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def test_import_when_done_twice_then_keeps_each_opinion_once(
    database: Database, store: ArtifactStore, tmp_path: Path
) -> None:
    one, other = predicted(database), predicted(database, "marks")
    path = write(
        tmp_path,
        "who, when,prediction_id,label",
        f'"Müller, Ann",2024-03-01T13:00:00+01:00,{one.upper()},broken',
        "",
        f"bob,2024-03-01T12:30:00Z,{one},functional",
        f"bob,2024-03-01T12:30:00Z,{other},crack | dirt",
        f"ann,2024-03-01T12:30:00Z,{other},a|b",
        f"cid,2024-03-01T12:30:00Z,{other},",
        encoding="utf-8-sig",
    )

    reports = [import_opinions(path, database, store) for _ in range(2)]

    assert reports == [ImportReport(5, 5), ImportReport(5, 0)]
    first, second = read_opinions(database, one)
    assert (first.labels, first.labelled_by, first.labelled_at) == (("broken",), "Müller, Ann", NOON)
    assert (second.labels, second.source) == (("functional",), "import")
    assert {item.labelled_by: item.labels for item in read_opinions(database, other)} == {
        "bob": ("crack", "dirt"),
        "ann": ("a|b",),
        "cid": (),
    }


def test_import_when_lines_are_wrong_then_names_them_all_and_writes_nothing(
    database: Database, store: ArtifactStore, tmp_path: Path
) -> None:
    known, unknown, gone = predicted(database), uuid7(), predicted(database, "forgotten")
    path = write(
        tmp_path,
        HEADER,
        f"{known},broken,ann,2024-03-01T12:00:00Z",
        f"{known},Broken,ann,2024-03-01T12:01:00",
        "7,broken,,yesterday",
        f"{unknown},broken,ann,2024-03-01T12:00:00Z",
        f"{known},broken",
        f"{known},functional,ann,2024-03-01T12:00:00Z",
        f'{known},broken,"two\nlines",2999-03-01T12:00:00Z',
        f"{gone},broken,ann,2024-03-01T12:00:00Z",
        f"{known},,bob,2024-03-01T12:00:00Z",
    )

    with pytest.raises(DatasetError) as refused:
        import_opinions(path, database, store)

    assert refused.value.message.splitlines() == [
        f"11 problems in {path}:",
        "  line 3: cells-v1 has no class Broken",
        "  line 3: the time 2024-03-01T12:01:00 has no zone",
        "  line 4: '7' is no prediction_id",
        "  line 4: 'yesterday' is no time",
        f"  line 4: {WHO}",
        f"  line 5: there is no prediction {unknown}",
        "  line 6: 2 values instead of 4",
        "  line 7: contradicts line 2: same prediction, person and time, another label",
        f"  line 8: {WHO}; the time 2999-03-01T12:00:00+00:00 lies in the future, or before the year 2000",
        "  line 10: the version that answered is no longer in storage: its classes are not known",
        "  line 11: cells-v1 gives an image one class, not 0",
    ]
    assert read_opinions(database, known) == []


def test_import_when_thousands_of_lines_are_wrong_then_counts_them(
    database: Database, store: ArtifactStore, tmp_path: Path
) -> None:
    path = write(tmp_path, HEADER, *(f"{n},broken,ann,2024-03-01T12:00:00Z" for n in range(3000)))

    with pytest.raises(DatasetError) as refused:
        import_opinions(path, database, store)

    lines = refused.value.message.splitlines()
    assert len(lines) == 202
    assert (lines[0], lines[-1]) == (f"3000 problems in {path}:", "  and 2800 more")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"prediction_id,label,who\n", "has the columns prediction_id, label, who"),
        (b"prediction_id,label,who,when,more\n", "has the columns"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b'prediction_id,label,who,when\n"open,x,y,z\n', "cannot be read"),
    ],
    ids=["empty", "column-missing", "column-too-many", "encoding", "quote"],
)
def test_import_when_the_file_is_no_table_then_says_what_one_is(
    database: Database, store: ArtifactStore, tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)

    with pytest.raises(DatasetError, match=said) as refused:
        import_opinions(path, database, store)

    assert "prediction_id,label,who,when" in refused.value.hint


def test_command_when_run_then_imports_and_measures(
    database: Database,
    store: ArtifactStore,
    bundle_store: BundleStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ONSIGHT_CENTRAL_STORAGE_URL", bundle_store.url)
    path = write(tmp_path, HEADER, f"{predicted(database)},broken,ann,2024-03-01T13:30:00Z")

    assert main(["import", str(path)]) == 0
    assert main(["import", str(path)]) == 0
    assert main(["import", str(tmp_path / "none.csv")]) == DatasetError.exit_code
    assert main(["accuracy", "--weeks", "520"]) == 0

    shown = capsys.readouterr()
    first, second, header, *rows = shown.out.splitlines()
    assert (first, second) == ("1 opinions are new, 0 were known", "0 opinions are new, 1 were known")
    assert "none.csv cannot be read" in shown.err
    assert header.startswith("VERSION")
    assert rows[0].split() == [
        *("cells-v1", "2024-W09", "all", "arrived", "1", "1", "1.000", "0.207", "to", "1.000", "0.700"),
        *("(uncalibrated)", "1.5"),
    ]
    assert len(rows) == 3


def test_command_when_started_as_a_process_then_tells_how_it_is_used() -> None:
    command = [sys.executable, "-m", "onsight.feedback", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "import" in done.stdout
