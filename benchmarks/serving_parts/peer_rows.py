"""The other servers, prediction only, each in its own virtual environment."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving_parts.contestants import Place, Running, clean_environment, http_request, multipart
from benchmarks.serving_parts.inputs import Network
from benchmarks.serving_parts.peers.setup import environments_dir
from benchmarks.serving_parts.processes import NotRunError, answers, free_port, served

__all__ = ["PEERS", "Peer"]

_HERE = Path(__file__).parent / "peers"
_START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Peer:
    """A server with one file below ``peers/``.

    Attributes:
        environment: Of the requirements and the virtual environment.
        ready_path: Answers 200 when it serves.
        ask: The request for an image.
        read: Probabilities from an answer.
        arguments: That run it; the file itself when empty.
        batch: The most images in one call of the graph.
    """

    name: str
    environment: str
    ready_path: str
    ask: Callable[[bytes], bytes]
    read: Callable[[bytes], list[float]]
    arguments: tuple[str, ...] = ()
    batch: int = 1

    @contextmanager
    def serve(self, network: Network, place: Place) -> Iterator[Running]:
        """Runs it in its virtual environment."""
        programs = environments_dir() / self.environment / "bin"
        if not (programs / "python").exists():
            raise NotRunError(f"not installed: `make bench-peers`, or peers/setup.py {self.environment}")
        port, work = free_port(), place.work / "peers" / self.environment
        work.mkdir(parents=True, exist_ok=True)
        environment = clean_environment(
            BENCH_PORT=port,
            BENCH_WORKERS=place.workers,
            BENCH_BATCH=self.batch,
            BENCH_GRAPH=network.classifier_graph,
            BENCH_SIDE=network.side,
            BENCH_WORK=work,
            # uvloop and libuv: workers that share a socket take one connection at a time.
            UV_TCP_SINGLE_ACCEPT=1,
            PYTHONPATH=_HERE,
            PATH=f"{programs}:/usr/local/bin:/usr/bin:/bin",
        )
        command: list[str | Path] = [programs / "python", _HERE / f"serve_{self.environment}.py"]
        if self.arguments:
            program, *rest = (text.format(port=port, here=_HERE) for text in self.arguments)
            command = [programs / program, *rest]
        log = place.work / f"{self.environment}.log"
        with served(command, environment, log, lambda: answers(port, self.ready_path), _START_TIMEOUT_S) as tree:
            yield Running(tree, port, self.ask(place.photograph), self.read)


def _raw(path: str) -> Callable[[bytes], bytes]:
    return lambda content: http_request(path, content, "image/jpeg")


def _plain(answer: bytes) -> list[float]:
    values: list[float] = json.loads(answer)["probabilities"]
    return values


def _mlflow_request(content: bytes) -> bytes:
    body = json.dumps({"inputs": [base64.b64encode(content).decode()]}).encode()
    return http_request("/invocations", body, "application/json")


def _mlserver_request(content: bytes) -> bytes:
    image = {"name": "file", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(content).decode()]}
    body = json.dumps({"inputs": [image]}).encode()
    return http_request("/v2/models/classifier/infer", body, "application/json")


def _triton_request(content: bytes) -> bytes:
    headers = {"Inference-Header-Content-Length": "0"}
    return http_request("/v2/models/classifier/infer", content, "application/octet-stream", headers)


def _first_output(answer: bytes) -> list[float]:
    values: list[float] = json.loads(answer)["outputs"][0]["data"]
    return values


def _first_prediction(answer: bytes) -> list[float]:
    values: list[float] = json.loads(answer)["predictions"][0]
    return values


def _triton_output(answer: bytes) -> list[float]:
    # A head in JSON, then the tensor as it is in memory.
    _, end = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
    values: list[float] = np.frombuffer(answer[end:], np.float32).tolist()
    return values


PEERS = (
    Peer("FastAPI + ONNX Runtime", "fastapi", "/health", lambda jpeg: multipart("/predict", "file", jpeg), _plain),
    Peer(
        "BentoML",
        "bentoml",
        "/readyz",
        lambda jpeg: multipart("/predict", "image", jpeg),
        _plain,
        ("bentoml", "serve", "serve_bentoml:Classify", "--working-dir", "{here}", "--port", "{port}"),
    ),
    Peer("LitServe", "litserve", "/health", lambda jpeg: multipart("/predict", "file", jpeg), _plain),
    Peer("LitServe, batches", "litserve", "/health", lambda jpeg: multipart("/predict", "file", jpeg), _plain, batch=8),
    Peer("MLServer", "mlserver", "/v2/models/classifier/ready", _mlserver_request, _first_output),
    Peer("mosec", "mosec", "/", _raw("/inference"), _plain),
    Peer("mosec, batches", "mosec", "/", _raw("/inference"), _plain, batch=8),
    Peer("Ray Serve", "ray", "/", _raw("/"), _plain),
    Peer("mlflow models serve", "mlflow", "/ping", _mlflow_request, _first_prediction),
    Peer("Triton, Python backend", "triton", "/v2/health/ready", _triton_request, _triton_output),
)
