"""Adding reviewed photographs fails or is killed: nothing half-made stays, and nobody's work goes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from onsight.errors import DatasetError
from tests.unit.datasets.conftest import World

KILLED = """
import os, signal, sys
from pathlib import Path
from onsight.datasets import add_reviewed
from onsight.datasets.repository import DatasetRepository
from onsight.db import open_database
from onsight.image_archive import ArchivePolicy, ImageArchive
import onsight.datasets.reviewed as reviewed
from onsight.datasets.git import Git

moment, state, ds_root = sys.argv[1:]
real_run = Git.run_as_committer
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
if moment == "after the images": DatasetRepository.add_version = die
if moment == "before the tag": Git.run_as_committer = lambda git, *a: die() if a[0] == "tag" else real_run(git, *a)
if moment == "after the tag": reviewed.mark_reviewed = lambda database, items: die() if list(items) else None
add_reviewed(open_database(f"sqlite:///{state}/predictions.db"),
             ImageArchive(Path(state) / "dl_service/images", ArchivePolicy()), Path(ds_root), "plankton")
"""



Photographs = list[tuple[bytes, str]]


def kill(world: World, moment: str) -> None:
    """A process that adds what waits, and is killed."""
    world.archive.close()  # all of the images are on the disk
    state = world.archive._folder.parents[1]
    command = [sys.executable, "-c", KILLED, moment, str(state), str(world.ds_root)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.fixture
def after_a_failure(world: World, fresh: Photographs) -> str:
    """The prediction whose image was to come in when the remote could not be written."""
    name = world.review(*fresh[0])
    remote = world.ds_root / ".dvc_remotes" / "plankton"
    shutil.move(remote, remote.with_suffix(".away"))
    remote.write_text("no folder")
    with pytest.raises(DatasetError, match="Not a directory"):
        world.add()
    remote.unlink()
    shutil.move(remote.with_suffix(".away"), remote)
    return name


def edit_table(root: Path) -> str:
    """A person's edit of the table; what it holds then."""
    table = root / "annotation_df.csv"
    table.write_text(table.read_text().replace(",1,0", ",0,1", 1))
    return table.read_text()


def test_a_failure_brings_the_version_before_back(world: World, after_a_failure: str) -> None:
    assert world.git("status", "--porcelain") == ""
    assert world.git("describe", "--tags") == "v2.0.0"
    assert not list(world.root.glob(f"images/*/*/{after_a_failure}.*"))
    assert not list(world.ds_root.glob(".*.adding"))
    assert world.states() == {after_a_failure: ("labelled", None)}
    assert world.add() == "v2.1.0"


def test_edits_after_a_failure_are_kept(world: World, after_a_failure: str) -> None:
    mine = edit_table(world.root)

    with pytest.raises(DatasetError, match="uncommitted changes"):
        world.add()

    assert (world.root / "annotation_df.csv").read_text() == mine


def test_a_commit_after_a_failure_is_kept(world: World, after_a_failure: str) -> None:
    (world.root / "notes.txt").write_text("mine")
    world.git("add", "notes.txt")
    world.git("-c", "user.name=Ann", "-c", "user.email=ann@x", "commit", "--quiet", "--message", "Notes")

    assert world.add() == "v2.1.0"

    assert world.git("log", "-2", "--format=%s").splitlines()[1] == "Notes"
    assert (world.root / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("moment", ["after the images", "before the tag", "after the tag"])
def test_a_process_that_is_killed_leaves_what_the_next_call_finishes(
    world: World, fresh: Photographs, moment: str
) -> None:
    names = [world.review(*one) for one in fresh[:3]]
    kill(world, moment)

    assert world.add() == "v2.1.0"

    assert world.states() == dict.fromkeys(names, ("labelled", "v2.1.0"))
    assert sorted(path.stem for path in world.root.glob("images/*/*/*-*-*.jpg") if path.stem in names) == sorted(names)
    assert world.git("log", "--format=%s").count("reviewed images") == 1
    assert world.add() is None


def test_a_table_that_the_kill_cut_short_is_written_anew(world: World, fresh: Photographs) -> None:
    world.review(*fresh[0])
    kill(world, "after the images")
    table = world.root / "annotation_df.csv"
    table.write_bytes(table.read_bytes()[:100])

    assert world.add() == "v2.1.0"


def a_row(world: World) -> None:
    edit_table(world.root)


def a_commit(world: World) -> None:
    edit_table(world.root)
    world.git("-c", "user.name=Ann", "-c", "user.email=ann@x", "commit", "--quiet", "--all", "--message", "Mine")


def an_amended_commit(world: World) -> None:
    edit_table(world.root)
    world.git("-c", "user.name=Ann", "-c", "user.email=ann@x", "commit", "--quiet", "--all", "--amend", "--no-edit")


def a_staged_file(world: World) -> None:
    (world.root / "notes.txt").write_text("mine")
    world.git("add", "notes.txt")


@pytest.mark.parametrize("moment", ["after the images", "before the tag"])
@pytest.mark.parametrize("work", [a_row, a_commit, an_amended_commit, a_staged_file])
def test_work_that_followed_a_kill_is_refused_and_not_touched(
    world: World, fresh: Photographs, moment: str, work: Callable[[World], None]
) -> None:
    name = world.review(*fresh[0])
    kill(world, moment)
    work(world)
    before = seen(world)

    with pytest.raises(DatasetError, match=r"(?s)work on top of version v2\.1\.0.*delete .*\.plankton\.adding"):
        world.add()

    assert seen(world) == before
    assert world.states() == {name: ("labelled", None)}


def test_another_version_checked_out_after_a_kill_stays_until_the_next_one(world: World, fresh: Photographs) -> None:
    name = world.review(*fresh[0])
    kill(world, "before the tag")
    world.read("v2.0.0")

    assert world.add() == "v2.1.0"

    assert world.git("log", "--format=%s", "main").count("reviewed images") == 1
    assert world.git("tag", "--list").split() == ["v2.0.0", "v2.1.0"]
    assert world.states() == {name: ("labelled", "v2.1.0")}


def test_images_put_in_after_a_kill_are_kept(world: World, fresh: Photographs) -> None:
    world.review(*fresh[0])
    kill(world, "after the images")
    mine = next(world.root.glob("images/train/*")) / "mine.jpg"
    mine.write_bytes(fresh[1][0])

    with pytest.raises(DatasetError, match=r"uncommitted changes.*mine\.jpg"):
        world.add()

    assert mine.read_bytes() == fresh[1][0]


def seen(world: World) -> list[object]:
    """All that a person has in the data set: commit, status and files."""
    files = [path for path in world.root.rglob("*") if path.is_file() and not {".git", ".dvc"} & set(path.parts)]
    contents = {str(path): path.read_bytes() for path in files}
    return [world.git("rev-parse", "HEAD"), world.git("status", "--porcelain"), contents]
