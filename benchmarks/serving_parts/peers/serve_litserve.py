"""LitServe: two workers behind two API servers, over its fast queue (ZeroMQ)."""

import litserve
from classifier import BATCH, PORT, WORKERS, Classifier


class Api(litserve.LitAPI):
    """Decodes in the worker."""

    def setup(self, device: str) -> None:
        """Loads the graph."""
        self.classifier = Classifier()

    def decode_request(self, request) -> bytes:
        """The upload. No annotation: LitServe would take it for a schema."""
        return request["file"].file.read()

    def predict(self, content: bytes) -> list[float]:
        """One image."""
        return self.classifier.predict(content)

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """JSON."""
        return {"probabilities": output}


class BatchedApi(Api):
    """The same, for what is waiting; LitServe makes the lists and takes them apart."""

    def predict(self, contents: list[bytes]) -> list[list[float]]:
        """Several images."""
        return self.classifier.predict_batch(contents)


if __name__ == "__main__":
    api = Api() if BATCH == 1 else BatchedApi(max_batch_size=BATCH, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, fast_queue=True, timeout=120)
    server.run(
        port=PORT,
        host="127.0.0.1",
        num_api_servers=WORKERS,
        generate_client_file=False,
        access_log=False,
        log_level="warning",
    )
