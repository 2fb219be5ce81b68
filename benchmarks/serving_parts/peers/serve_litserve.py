"""LitServe: two workers behind two API servers, over its fast queue (ZeroMQ)."""

import litserve
from classifier import PORT, WORKERS, Classifier
from starlette.requests import Request


class Api(litserve.LitAPI):
    """Decodes in the worker."""

    def setup(self, device: str) -> None:
        """Loads the graph."""
        self.classifier = Classifier()

    async def decode_request(self, request: Request) -> bytes:
        """The raw body."""
        return await request.body()

    def predict(self, content: bytes) -> list[float]:
        """One image."""
        return self.classifier.predict(content)

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """JSON."""
        return {"probabilities": output}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=WORKERS, fast_queue=True)
    server.run(port=PORT, host="127.0.0.1", num_api_servers=WORKERS, generate_client_file=False, access_log=False,
               log_level="warning")
