"""What every stage of one run shares: where things are, the tracked run, a work folder; checked before work begins."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from flows.stages import Stages
from onsight.config import MlflowConfig, Section
from onsight.registry import ModelRegistry, open_registry
from onsight.settings import Settings
from onsight.storage import ArtifactStore, open_store
from onsight.tracking import CONFIG_TAG, TrackedRun, Tracker, open_tracker

__all__ = ["RunContext", "RunRequest", "open_context"]


@dataclass(frozen=True)
class RunRequest:
    """Which run to open.

    Attributes:
        sections: The config sections that decide what is trained: a run is resumed only with the same.
    """

    name: str
    mlflow: MlflowConfig
    sections: tuple[Section, ...]
    resume: bool = False


@dataclass(frozen=True)
class RunContext:
    """What the stages of one run share.

    Attributes:
        work_dir: Checkpoints, reports and staged files of this run.
    """

    settings: Settings
    store: ArtifactStore
    registry: ModelRegistry
    run: TrackedRun
    work_dir: Path
    stages: Stages
    console: Console


@contextmanager
def open_context(request: RunRequest, settings: Settings) -> Iterator[RunContext]:
    """Check that the run's servers and storage are there, then open the run; it is closed with what came of it.

    Raises:
        DependencyError: The tracking server does not answer.
        StorageError: Central storage cannot be written.
    """
    console = Console()
    stages = Stages(console)
    store = open_store(settings)
    store.check_writable()
    tracker = open_tracker(settings)
    tracker.check()
    digest = hashlib.sha256("".join(section.model_dump_json() for section in request.sections).encode()).hexdigest()
    run = tracker.start_run(request.mlflow, request.name, _run_to_resume(tracker, request, digest, stages))
    run.set_tags({CONFIG_TAG: digest, "mlflow.note.content": request.mlflow.exp_desc, **request.mlflow.exp_tags})
    work_dir = settings.state_dir.absolute() / "runs" / run.run_id
    work_dir.mkdir(parents=True, exist_ok=True)
    try:
        yield RunContext(settings, store, open_registry(settings), run, work_dir, stages, console)
    except KeyboardInterrupt:
        run.close("KILLED")
        raise
    except BaseException:
        run.close("FAILED")
        raise
    run.close("FINISHED")
    # The report stays for the person who reads the summary; what it was made of is in MLflow and central storage.
    for leftover in ("checkpoints", "export", "drift", "bundles"):
        shutil.rmtree(work_dir / leftover, ignore_errors=True)


def _run_to_resume(tracker: Tracker, request: RunRequest, digest: str, stages: Stages) -> str | None:
    if not request.resume:
        return None
    run_id = tracker.find_unfinished_run(request.mlflow.exp_name, {CONFIG_TAG: digest})
    stages.say(f"going on with run {run_id}" if run_id else "no unfinished run of this config: starting a new one")
    return run_id
