"""A small data set of real photographs, imported once and copied for each test; no git settings but its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onsight.config.dataset import DatasetConfig
from onsight.datasets import ImportRequest, import_dataset

Shell = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def bare_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine where git knows no committer and DVC has no caches."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        patch.setenv("DVC_SITE_CACHE_DIR", str(home / "dvc"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, plankton_folder: Path) -> Path:
    """A folder of data sets that holds plankton with v1.0.0 (four classes) and v2.0.0 (all six)."""
    ds_root = tmp_path_factory.mktemp("imported")
    four = ds_root / "source"
    for folder in sorted(plankton_folder.iterdir())[:4]:
        shutil.copytree(folder, four / folder.name)
    import_dataset(ImportRequest(four, "plankton", ds_root, seed=1))
    import_dataset(ImportRequest(plankton_folder, "plankton", ds_root, seed=1, tag="v2.0.0"))
    shutil.rmtree(four)
    return ds_root


@pytest.fixture
def ds_root(imported: Path, tmp_path: Path) -> Path:
    """The test's own copy of the imported data sets."""
    return Path(shutil.copytree(imported, tmp_path / "datasets", symlinks=True))


@pytest.fixture
def root(ds_root: Path) -> Path:
    return ds_root / "plankton"


@pytest.fixture
def config(ds_root: Path) -> Callable[..., DatasetConfig]:
    """Makes the config section, for v2.0.0 unless told otherwise."""

    def make(**options: object) -> DatasetConfig:
        return DatasetConfig.model_validate({"ds_root": ds_root, "ds_name": "plankton", "dvc_tag": "v2.0.0", **options})

    return make


@pytest.fixture
def git(root: Path) -> Shell:
    """Runs git in the data set, as its user would."""

    def run(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    return run
