"""Onsight's own rows, and the reference design's: both write to Postgres."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from subprocess import DEVNULL, Popen

from sqlalchemy import create_engine, text

from benchmarks.serving_parts.contestants import Place, Running, clean_environment, http_request, multipart
from benchmarks.serving_parts.inputs import Network
from benchmarks.serving_parts.processes import NotRunError, answers, free_port, served, wait_until
from onsight.db import GOLDEN_REQUEST_PREFIX

__all__ = ["ONSIGHT", "ONSIGHT_ROWS", "OnsightRow", "ReferenceRow", "seconds_to_ready"]

# Longer than the pause between two shipments of the log, so that what logging costs falls into the measurement.
_SETTLE_S = 2.1


@dataclass(frozen=True)
class OnsightRow:
    """dl_service with one way of asking it.

    Attributes:
        module: That is run.
        is_raw: The image is the body, without a form.
        must_hold: Keys that an answer must have.
        must_log: The share of the answers that must be on record in the end.
        file_pattern: Of a file that the bundle must have.
        variant: Of the graph.
        tolerance: Of the answer's probabilities, against the graph as it was trained.
    """

    name: str
    query: str = ""
    module: str = "services.dl_service"
    is_raw: bool = False
    is_postgres: bool = True
    must_hold: tuple[str, ...] = ()
    must_log: float = 1.0
    file_pattern: str = "model.onnx"
    variant: str = "fp32"
    tolerance: float = 2e-3

    @contextmanager
    def serve(self, network: Network, place: Place) -> Iterator[Running]:
        """Runs it with the network deployed and a database of its own."""
        if not list(network.graph.parent.glob(self.file_pattern)):
            raise NotRunError(f"the bundle has no {self.file_pattern}: not in this build")
        state = Path(tempfile.mkdtemp(prefix="onsight-bench-"))
        url = place.postgres.create_database() if self.is_postgres else f"sqlite:///{state}/predictions.db"
        port = free_port()
        environment = {**_environment(network, place, state, port, url), "ONSIGHT_VARIANT": self.variant}
        command = [sys.executable, "-m", self.module]
        log = place.work / "onsight.log"
        path = f"/predict{self.query}"
        content = place.photograph
        request = http_request(path, content, "image/jpeg") if self.is_raw else multipart(path, "file", content)
        try:
            with served(command, environment, log, lambda: answers(port, "/livez"), 60) as tree:
                deploy(port, network.bundle)
                yield Running(
                    tree=tree,
                    port=port,
                    request=request,
                    read=lambda answer: list(json.loads(answer)["prediction"].values()),
                    must_hold=self.must_hold,
                    tolerance=self.tolerance,
                    count_logged=lambda: count_predictions(url),
                    must_log=self.must_log,
                    settle_s=_SETTLE_S,
                )
        finally:
            shutil.rmtree(state, ignore_errors=True)


ONSIGHT = OnsightRow("onsight")
ONSIGHT_ROWS = (
    ONSIGHT,
    OnsightRow("onsight, raw body", is_raw=True),
    OnsightRow("onsight, explain=both", query="?explain=both", must_hold=("raw_hm_img", "overlaid_img")),
    OnsightRow("onsight, int8", file_pattern="*int8*", variant="int8", tolerance=0.1),
    OnsightRow("onsight, SQLite", is_postgres=False),
    OnsightRow("onsight, not logging", module="benchmarks.serving_parts.unlogged", must_log=0),
)


@dataclass(frozen=True)
class ReferenceRow:
    """The reference design, on the same network and the same Postgres."""

    name: str = "reference design"

    @contextmanager
    def serve(self, network: Network, place: Place) -> Iterator[Running]:
        """Runs it with a database of its own."""
        port, url = free_port(), place.postgres.create_database()
        environment = clean_environment(
            BENCH_MODEL=network.keras_file,
            BENCH_ENCODER=network.encoder_file,
            BENCH_DATABASE=url,
            BENCH_PORT=port,
            TF_CPP_MIN_LOG_LEVEL=2,
        )
        command = [sys.executable, "-m", "benchmarks.serving_parts.reference_design"]
        log = place.work / "reference.log"
        with served(command, environment, log, lambda: answers(port, "/health")) as tree:
            request = multipart("/predict/", "file", place.photograph)
            yield Running(tree, port, request, lambda answer: json.loads(answer)["probabilities"])


def seconds_to_ready(network: Network, place: Place, starts: int) -> list[float]:
    """How long a restarted service takes from its process' start to a 200 of /readyz, a model deployed before."""
    state = Path(tempfile.mkdtemp(prefix="onsight-bench-"))
    port, url = free_port(), place.postgres.create_database()
    environment = _environment(network, place, state, port, url)
    took_s = []
    try:
        for turn in range(starts + 1):
            started_s = time.perf_counter()
            process = Popen(
                [sys.executable, "-m", "services.dl_service"], env=environment, stdout=DEVNULL, stderr=DEVNULL
            )
            try:
                if turn == 0:
                    wait_until(lambda: answers(port, "/livez"), 60, "the service does not answer")
                    deploy(port, network.bundle)
                else:
                    wait_until(lambda: answers(port, "/readyz"), 60, "the service does not get ready", 0.005)
                    took_s.append(round(time.perf_counter() - started_s, 3))
            finally:
                process.terminate()
                process.wait(60)
    finally:
        shutil.rmtree(state, ignore_errors=True)
    return took_s


def deploy(port: int, bundle: str) -> None:
    """Points a service at a bundle.

    Raises:
        NotRunError: It refuses.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("PUT", f"/update_model/{bundle}.yaml")
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise NotRunError(f"{bundle} is not deployed: {answer.status} {content[:300].decode()}")


def count_predictions(url: str) -> int:
    """Answered requests on record; not those that a service asks of itself."""
    engine = create_engine(url)
    query = text("SELECT count(*) FROM predictions WHERE request_id NOT LIKE :own")
    try:
        with suppress(Exception), engine.connect() as connection:
            return int(connection.execute(query, {"own": f"{GOLDEN_REQUEST_PREFIX}%"}).scalar_one())
        return 0
    finally:
        engine.dispose()


def _environment(network: Network, place: Place, state: Path, port: int, url: str) -> dict[str, str]:
    return clean_environment(
        DL_SERVICE_PORT=port,
        DL_SERVICE_WORKERS=place.workers,
        ONSIGHT_STATE_DIR=state,
        ONSIGHT_CENTRAL_STORAGE_URL=network.storage,
        ONSIGHT_DATABASE_URL=url,
    )
