"""The archive keeps what it is given, for a while, and never gets in the way."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onsight.errors import StorageError
from onsight.image_archive import ArchiveCounts, ArchivePolicy, ImageArchive, PruneReport, read_kept, write_kept
from tests.servers.dl_service import wait_until

MakeArchive = Callable[..., ImageArchive]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def keep(archive: ImageArchive, *contents: bytes) -> None:
    """Keeps each of them, on the disk."""
    for content in contents:
        assert archive.keep(digest(content), content)
    wait_until(lambda: archive.counts().pending == 0)


def fill(archive: ImageArchive, *contents: bytes) -> None:
    """As ``keep``; its thread, which would clean up in the background, has ended when this returns."""
    keep(archive, *contents)
    archive.close()


def backdate(folder: Path, content: bytes, days: float) -> None:
    path = folder / digest(content)[:2] / digest(content)
    os.utime(path, (time.time() - days * 86_400,) * 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "images"


@pytest.fixture
def make_archive(folder: Path) -> Iterator[MakeArchive]:
    """Archives that are running, unless told otherwise."""
    made: list[ImageArchive] = []

    def make(*, running: bool = True, queue_bytes: int = 10**6, **policy: float) -> ImageArchive:
        archive = ImageArchive(folder, ArchivePolicy(**policy), queue_bytes)  # type: ignore[arg-type]
        if running:
            archive.start()
        made.append(archive)
        return archive

    yield make
    for archive in made:
        archive.close()


def test_an_image_is_found_as_it_came(make_archive: MakeArchive, folder: Path) -> None:
    archive = make_archive()
    content = b"\xff\xd8 any bytes \0"

    keep(archive, content)

    name = digest(content)
    assert files_below(folder) == [folder / name[:2] / name]
    assert stat.S_IMODE((folder / name[:2] / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert archive.find(name) == content
    assert make_archive(running=False).find(name) == content
    assert archive.counts() == ArchiveCounts(stored=1, dropped=0, failed=0, pending=0)


def test_an_image_is_found_while_it_still_waits(make_archive: MakeArchive) -> None:
    archive = make_archive(running=False)

    archive.keep(digest(b"one"), b"one")

    assert archive.find(digest(b"one")) == b"one"
    assert archive.counts().pending == 1


def test_keep_again_writes_nothing_and_starts_its_days_anew(make_archive: MakeArchive, folder: Path) -> None:
    archive = make_archive()
    keep(archive, b"one")
    path = files_below(folder)[0]
    inode = path.stat().st_ino
    backdate(folder, b"one", days=29)

    keep(archive, b"one")

    assert files_below(folder) == [path]
    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > time.time() - 60


def test_images_are_gathered_until_they_are_many_or_the_archive_is_closed(
    make_archive: MakeArchive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onsight.image_archive.archive._GATHER_S", 60.0)
    archive = make_archive(queue_bytes=1000)
    archive.keep(digest(b"one"), b"one")
    time.sleep(0.1)
    assert files_below(folder) == []

    keep(archive, b"two", b"x" * 200)
    assert len(files_below(folder)) == 3

    archive.keep(digest(b"last"), b"last")
    archive.close()
    assert len(files_below(folder)) == 4


def test_two_processes_that_write_the_same_image_both_succeed(make_archive: MakeArchive, folder: Path) -> None:
    archives = [make_archive() for _ in range(4)]
    contents = [bytes([number]) * 1000 for number in range(50)]

    for archive in archives:
        for content in contents:
            archive.keep(digest(content), content)
    wait_until(lambda: all(archive.counts().stored == 50 for archive in archives))

    assert [digest(path.read_bytes()) for path in files_below(folder)] == sorted(map(digest, contents))


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 63 + "\n", "a" * 64 + "\n", "/" * 64]
)
def test_a_name_that_is_no_digest_is_never_a_path(make_archive: MakeArchive, folder: Path, name: str) -> None:
    archive = make_archive(running=False)

    assert archive.find(name) is None
    assert not archive.keep(name, b"content")
    assert archive.counts().pending == 0


def test_find_of_a_damaged_image_is_none_and_makes_room_for_a_sound_one(
    make_archive: MakeArchive, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = make_archive()
    keep(archive, b"sound")
    files_below(folder)[0].write_bytes(b"sounf")

    assert archive.find(digest(b"sound")) is None
    assert "damaged" in caplog.text

    keep(archive, b"sound")
    assert archive.find(digest(b"sound")) == b"sound"


def test_find_of_an_image_that_was_never_kept_is_none(make_archive: MakeArchive) -> None:
    assert make_archive().find(digest(b"never")) is None


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (1.0, 2000, 2000), (0.25, 400, 600)])
def test_share_is_kept_and_always_the_same(share: float, least: int, most: int) -> None:
    policy = ArchivePolicy(share=share)
    digests = [digest(str(number).encode()) for number in range(2000)]

    taken = [name for name in digests if policy.takes(name)]

    assert least <= len(taken) <= most
    assert taken == [name for name in digests if ArchivePolicy(share=share).takes(name)]
    assert set(taken) <= {name for name in digests if ArchivePolicy(share=min(1, share * 2)).takes(name)}


def test_a_full_queue_drops_counts_and_says_so_once(
    make_archive: MakeArchive, caplog: pytest.LogCaptureFixture
) -> None:
    archive = make_archive(running=False, queue_bytes=1500)

    kept = [archive.keep(digest(bytes([number])), bytes([number]) * 1000) for number in range(10)]

    assert kept == [True] + [False] * 9
    assert archive.counts() == ArchiveCounts(stored=0, dropped=9, failed=0, pending=1)
    assert caplog.text.count("the queue of 1500 bytes is full") == 1


def test_a_failing_disk_loses_images_and_nothing_else(
    make_archive: MakeArchive, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.mkdir()
    folder.write_text("not a folder")
    archive = make_archive()

    for number in range(5):
        assert archive.keep(digest(bytes([number])), b"content")
    wait_until(lambda: archive.counts().failed == 5)

    assert caplog.text.count("cannot be written") == 1
    folder.unlink()
    keep(archive, b"after")
    assert archive.find(digest(b"after")) == b"after"
    assert archive.counts() == ArchiveCounts(stored=1, dropped=0, failed=5, pending=0)


def test_keep_never_waits_for_the_disk(make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_archive()
    release = threading.Event()
    monkeypatch.setattr(ImageArchive, "_write", lambda *_: release.wait(30))

    started_s = time.perf_counter()
    for number in range(100):
        archive.keep(digest(bytes([number])), b"content")

    assert time.perf_counter() - started_s < 5
    assert archive.counts().pending == 100
    release.set()


def test_close_writes_what_waits(make_archive: MakeArchive) -> None:
    archive = make_archive()
    contents = [bytes([number]) for number in range(100)]
    for content in contents:
        archive.keep(digest(content), content)

    archive.close()

    assert archive.counts() == ArchiveCounts(stored=100, dropped=0, failed=0, pending=0)
    assert not archive.keep(digest(b"late"), b"late")


def test_prune_removes_what_is_too_old_then_the_oldest_over_the_cap(make_archive: MakeArchive, folder: Path) -> None:
    fill(make_archive(), *[bytes([number]) * 100 for number in range(6)])
    for number, days in enumerate([40, 31, 29, 5, 3, 1]):
        backdate(folder, bytes([number]) * 100, days)

    report = make_archive(running=False, days=30, max_bytes=250).prune()

    assert report == PruneReport(removed_files=4, removed_bytes=400, left_files=2, left_bytes=200)
    assert {path.read_bytes()[0] for path in files_below(folder)} == {4, 5}


def test_prune_does_bounded_work_and_goes_on_with_the_next_call(make_archive: MakeArchive, folder: Path) -> None:
    fill(make_archive(), *[bytes([number]) for number in range(10)])
    for number in range(10):
        backdate(folder, bytes([number]), days=50 + number)
    archive = make_archive(running=False, days=30)

    reports = [archive.prune(max_removals=4) for _ in range(4)]

    assert [report.removed_files for report in reports] == [4, 4, 2, 0]
    assert reports[0].left_files == 6


def test_prune_removes_leftovers_of_a_killed_process_alone(make_archive: MakeArchive, folder: Path) -> None:
    shard = folder / "ab"
    shard.mkdir(parents=True)
    for name, hours in (("old.new", 2.0), ("fresh.new", 0.0)):
        (shard / name).write_bytes(b"torn")
        os.utime(shard / name, (time.time() - hours * 3600,) * 2)

    assert make_archive(running=False).prune() == PruneReport(0, 0, 0, 0)

    assert files_below(folder) == [shard / "fresh.new"]


def test_prune_of_no_folder_is_nothing(make_archive: MakeArchive) -> None:
    assert make_archive(running=False).prune() == PruneReport(0, 0, 0, 0)


def test_the_thread_keeps_the_cap_by_itself(make_archive: MakeArchive, folder: Path) -> None:
    archive = make_archive(max_bytes=16_000)

    for number in range(100):
        content = bytes([number]) * 1000
        archive.keep(digest(content), content)
        wait_until(lambda: archive.counts().pending == 0)

    wait_until(lambda: sum(path.stat().st_size for path in files_below(folder)) <= 17_000)
    assert archive.find(digest(bytes([99]) * 1000)) is not None


def test_prune_when_an_image_is_on_the_list_then_passes_it_over(make_archive: MakeArchive, folder: Path) -> None:
    archive = make_archive()
    kept, old, young = b"kept" * 2, b"old!" * 2, b"young" * 2
    keep(archive, kept, old, young)
    backdate(folder, kept, 9)
    backdate(folder, old, 8)
    write_kept(folder, [digest(kept)])

    cleaner = make_archive(running=False, days=7.0, max_bytes=17)
    # What is kept counts: with it the youngest is above the cap.
    assert cleaner.prune() == PruneReport(2, 18, 1, 8)

    assert archive.find(digest(kept)) == kept
    assert archive.find(digest(old)) is None
    write_kept(folder, [])
    cleaner.prune()
    assert archive.find(digest(kept)) is None


def test_prune_when_the_list_cannot_be_read_then_removes_nothing(make_archive: MakeArchive, folder: Path) -> None:
    archive = make_archive()
    keep(archive, b"old")
    backdate(folder, b"old", 8)
    (folder / "kept").mkdir()

    assert make_archive(running=False, days=7.0).prune() == PruneReport(0, 0, 0, 0)
    assert archive.find(digest(b"old")) == b"old"


def test_write_kept_replaces_the_list_and_leaves_nothing_beside_it(folder: Path) -> None:
    assert read_kept(folder) == frozenset()
    write_kept(folder, ["a" * 64, "b" * 64])
    write_kept(folder, ["c" * 64])
    assert read_kept(folder) == {"c" * 64}
    assert [path.name for path in folder.iterdir()] == ["kept"]
    assert stat.S_IMODE((folder / "kept").stat().st_mode) == 0o600


def test_write_kept_when_the_folder_cannot_be_made_then_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        write_kept(tmp_path / "file", [])


def test_holds_what_waits_and_what_is_stored(make_archive: MakeArchive, folder: Path) -> None:
    waiting = make_archive(running=False)
    waiting.keep(digest(b"new"), b"new")
    assert waiting.holds(digest(b"new"))
    assert not waiting.holds(digest(b"other"))
    assert not waiting.holds("../../etc/passwd")

    stored = make_archive()
    stored.keep(digest(b"kept"), b"kept")
    wait_until(lambda: stored.counts().pending == 0)
    assert make_archive(running=False).holds(digest(b"kept"))
