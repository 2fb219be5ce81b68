"""The DVC step with real git and DVC: what it restores, what it refuses, and that no work is lost."""

from __future__ import annotations

import builtins
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from onsight.config.dataset import DatasetConfig
from onsight.datasets import checkout_dataset
from onsight.datasets.repository import DatasetRepository
from onsight.errors import DatasetError

Config = Callable[..., DatasetConfig]
Shell = Callable[..., str]


def images(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("images/*/*/*")}


@pytest.fixture(autouse=True)
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(prompt: object = "") -> str:
        raise AssertionError(f"asked: {prompt}")

    monkeypatch.setattr(builtins, "input", ask)


def test_checkout_of_an_unchanged_data_set_reads_it(config: Config, git: Shell) -> None:
    dataset = checkout_dataset(config())
    assert (dataset.name, dataset.tag, dataset.revision) == ("plankton", "v2.0.0", git("rev-parse", "HEAD"))
    assert len(dataset.classes) == 6
    assert dataset.split_sizes() == {"train": 73, "valid": 17, "test": 15}
    assert all(path.is_file() for split in dataset.splits.values() for path in split.paths)
    assert git("symbolic-ref", "--short", "HEAD") == "main"


def test_checkout_of_another_tag_brings_its_images_and_labels(config: Config, root: Path, git: Shell) -> None:
    before = images(root)
    dataset = checkout_dataset(config(dvc_tag="v1.0.0"))
    assert len(dataset.classes) == 4
    assert dataset.revision == git("rev-parse", "v1.0.0^{commit}")
    assert len(images(root)) == sum(dataset.split_sizes().values()) < len(before)
    assert git("status", "--porcelain") == ""
    assert git("branch", "--format=%(refname:short)", "--list", "main") == "main"
    checkout_dataset(config())
    assert images(root) == before
    assert git("symbolic-ref", "--short", "HEAD") == "main"


def test_checkout_restores_deleted_files(config: Config, root: Path) -> None:
    before = images(root)
    for name in list(before)[::9]:
        (root / name).unlink()
    (root / "annotation_df.csv").unlink()
    checkout_dataset(config())
    assert images(root) == before


def test_checkout_restores_the_whole_image_folder(config: Config, root: Path) -> None:
    before = images(root)
    shutil.rmtree(root / "images")
    checkout_dataset(config())
    assert images(root) == before


def test_checkout_with_a_cold_cache_pulls_from_the_remote(config: Config, root: Path) -> None:
    before = images(root)
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(root / "images")
    checkout_dataset(config())
    assert images(root) == before


def test_checkout_of_a_fresh_git_clone_pulls_everything(ds_root: Path, root: Path, git: Shell) -> None:
    git("clone", "--quiet", str(root), str(ds_root / "copy"))
    dataset = checkout_dataset(DatasetConfig(ds_root=ds_root, ds_name="copy", dvc_tag="v1.0.0"))
    assert len(images(ds_root / "copy")) == sum(dataset.split_sizes().values())


def test_checkout_with_cold_cache_and_no_remote_changes_nothing(config: Config, root: Path, ds_root: Path) -> None:
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(ds_root / ".dvc_remotes")
    assert checkout_dataset(config()).tag == "v2.0.0"  # all images are here: nothing is needed
    victim = next(root.glob("images/*/*/*"))
    victim.unlink()
    others = images(root)
    with pytest.raises(DatasetError, match="neither the DVC cache nor the remote holds all images of this version"):
        checkout_dataset(config())
    assert images(root) == others


def test_checkout_with_a_cold_cache_still_sees_work(config: Config, root: Path) -> None:
    shutil.rmtree(root / ".dvc" / "cache")
    mine = next(root.glob("images/*/*/*"))
    mine.write_bytes(b"mine")
    with pytest.raises(DatasetError, match="would lose: 1 modified"):
        checkout_dataset(config())
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        pytest.param(
            lambda root: next(root.glob("images/train/*/*")).write_bytes(b"mine"), "1 modified (images/train/"
        ),
        pytest.param(lambda root: (root / "images/test/new.jpg").write_bytes(b"mine"), "1 added (images/test/new.jpg)"),
        pytest.param(lambda root: (root / "notes.txt").write_text("mine"), "1 added (notes.txt)"),
        pytest.param(lambda root: (root / "annotation_df.csv").write_text("mine"), "1 modified (annotation_df.csv)"),
        pytest.param(lambda root: (root / "images.dvc").write_text("outs: []\n"), "1 modified (images.dvc)"),
    ],
    ids=["changed image", "new image", "new file", "changed annotations", "changed images.dvc"],
)
@pytest.mark.parametrize("tag", ["v1.0.0", "v2.0.0"])
def test_checkout_refuses_to_lose_work_unless_told_to(
    spoil: Callable[[Path], object], named: str, tag: str, config: Config, root: Path, git: Shell
) -> None:
    before, head = images(root), git("rev-parse", "HEAD")
    spoil(root)
    spoilt = images(root), git("status", "--porcelain")
    with pytest.raises(DatasetError, match=f"uncommitted work.*{re.escape(named)}.*nothing was changed") as caught:
        checkout_dataset(config(dvc_tag=tag))
    assert "discard_changes" in caught.value.hint
    assert (images(root), git("status", "--porcelain")) == spoilt
    assert git("rev-parse", "HEAD") == head
    dataset = checkout_dataset(config(dvc_tag=tag, discard_changes=True))
    assert dataset.revision == git("rev-parse", f"{tag}^{{commit}}")
    assert git("status", "--porcelain") == ""
    if tag == "v2.0.0":
        assert images(root) == before


def test_checkout_refuses_to_leave_a_commit_that_nothing_keeps(config: Config, root: Path, git: Shell) -> None:
    git("checkout", "--quiet", "--detach")
    (root / "notes.txt").write_text("mine")
    git("add", "notes.txt")
    git("-c", "user.name=me", "-c", "user.email=me@here", "commit", "--quiet", "--message", "mine")
    with pytest.raises(DatasetError, match="belongs to no branch and no tag: it would be lost") as caught:
        checkout_dataset(config())
    assert "branch my-work" in caught.value.hint
    git("branch", "my-work")
    assert checkout_dataset(config()).revision == git("rev-parse", "v2.0.0^{commit}")
    assert git("show", "my-work:notes.txt") == "mine"


def test_checkout_keeps_commits_that_lie_beyond_the_tag(config: Config, root: Path, git: Shell) -> None:
    (root / "notes.txt").write_text("mine")
    git("add", "notes.txt")
    git("commit", "--quiet", "--message", "mine")
    tip = git("rev-parse", "main")
    assert checkout_dataset(config()).revision != tip
    assert git("rev-parse", "main") == tip


def test_checkout_off_uses_the_working_copy_and_says_so(config: Config, root: Path, git: Shell) -> None:
    as_it_is = config(dvc_checkout=False, dvc_tag="v1.0.0")
    assert checkout_dataset(as_it_is).tag == "v2.0.0"
    (root / "notes.txt").write_text("mine")
    assert checkout_dataset(as_it_is).tag == "v2.0.0-dirty"
    git("add", "notes.txt")
    git("commit", "--quiet", "--message", "mine")
    assert checkout_dataset(as_it_is).tag == f"v2.0.0-1-g{git('rev-parse', '--short', 'HEAD')}"
    image = next(root.glob("images/train/*/*"))
    image.write_bytes(b"mine")
    assert checkout_dataset(as_it_is).tag.endswith("-dirty")
    assert image.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"dvc_tag": "v2.0"}, "no tag v2.0; its tags: v1.0.0, v2.0.0", "dataset.dvc_tag: v2.0.0"),
        ({"dvc_tag": "main"}, "no tag main", "one of them"),
        (
            {"ds_name": "plancton"},
            "plancton does not exist; data sets in .*: plankton",
            "import FOLDER --name plancton",
        ),
        ({"ds_name": "empty"}, "empty is no git \\+ DVC repository", "import FOLDER"),
    ],
    ids=["near tag", "branch", "no data set", "no repository"],
)
def test_checkout_of_what_is_not_there_says_what_is(
    options: dict[str, object], message: str, hint: str, config: Config, ds_root: Path
) -> None:
    (ds_root / "empty").mkdir()
    with pytest.raises(DatasetError, match=message) as caught:
        checkout_dataset(config(**options))
    assert hint in caught.value.hint


def test_checkout_works_inside_a_repository_that_ignores_its_data_sets(
    config: Config, ds_root: Path, git: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = ds_root.parent
    git("init", "--quiet", str(outer))
    (outer / ".gitignore").write_text("datasets/*\n")
    monkeypatch.setenv("GIT_DIR", str(outer / ".git"))  # as in a hook of the outer repository
    assert len(checkout_dataset(config(dvc_tag="v1.0.0")).classes) == 4


def test_a_broken_dvc_file_is_a_data_set_error(root: Path) -> None:
    (root / "images.dvc").write_text("outs: [broken")
    with pytest.raises(DatasetError, match="DVC failed in"):
        DatasetRepository(root).changes()


def test_add_version_where_git_knows_a_name_is_in_that_name(
    root: Path, git: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Ann\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    annotations = root / "annotation_df.csv"
    annotations.write_text(annotations.read_text() + "\n")

    DatasetRepository(root).add_version("v2.0.1", "An empty line")

    assert git("log", "-1", "--format=%an <%ae>") == "Ann <onsight@localhost>"
    assert git("cat-file", "-p", "v2.0.1").count("Ann <onsight@localhost>") == 1
    assert "[user]" not in (root / ".git" / "config").read_text()


def test_data_set_repositories_switch_telemetry_off_and_get_a_committer(root: Path, git: Shell) -> None:
    assert "analytics = false" in (root / ".dvc" / "config").read_text()
    assert git("log", "-1", "--format=%an <%ae>") == "Onsight <onsight@localhost>"
    assert yaml.safe_load((root / "metadata.yml").read_text())["version"] == "v2.0.0"
