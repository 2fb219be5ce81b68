"""Ray Serve: two replicas behind its HTTP proxy, with the settings its documentation gives for throughput."""

import os
import signal
from pathlib import Path

os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from classifier import PORT, WORKERS, Classifier
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=32, ray_actor_options={"num_cpus": 1})
class Classify:
    """One session to a replica."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """The body is the image."""
        if request.method == "GET":
            return {}
        return {"probabilities": self.classifier.predict(await request.body())}


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    ray.init(num_cpus=WORKERS, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": here}})
    serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config={"enable_access_log": False})
    serve.run(Classify.bind(), route_prefix="/", name="bench")
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    serve.shutdown()
    ray.shutdown()
