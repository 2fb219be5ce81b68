"""mosec: its Rust front, and two Python workers that take the raw body."""

import sys

from classifier import PORT, WORKERS, Classifier
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


if __name__ == "__main__":
    sys.argv[1:] = ["--port", str(PORT), "--address", "127.0.0.1", "--log-level", "warning", "--timeout", "120000"]
    server = Server()
    server.append_worker(Inference, num=WORKERS, max_batch_size=1)
    server.run()
