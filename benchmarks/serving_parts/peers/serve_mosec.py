"""mosec: its Rust front, and two Python workers that take the raw body, one at a time or in batches."""

import sys

from classifier import BATCH, PORT, WORKERS, Classifier
from mosec import Server, Worker


class Inference(Worker):
    """Decodes and infers."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = Classifier()

    def deserialize(self, data: bytes) -> bytes:
        """The body is the image."""
        return data

    def forward(self, data: bytes) -> dict[str, list[float]]:
        """One image."""
        return {"probabilities": self.classifier.predict(data)}


class BatchedInference(Inference):
    """The same, for what is waiting."""

    def forward(self, data: list[bytes]) -> list[dict[str, list[float]]]:
        """Several images."""
        return [{"probabilities": row} for row in self.classifier.predict_batch(data)]


if __name__ == "__main__":
    sys.argv[1:] = ["--port", str(PORT), "--address", "127.0.0.1", "--log-level", "warning", "--timeout", "120000"]
    server = Server()
    if BATCH == 1:
        server.append_worker(Inference, num=WORKERS)
    else:
        server.append_worker(BatchedInference, num=WORKERS, max_batch_size=BATCH, max_wait_time=1)
    server.run()
